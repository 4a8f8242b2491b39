//! Reads rows of 32-bit floats from the format of numpy. No other types, no other layouts.
use std::path::Path;

use anyhow::{Context, bail, ensure};

const MAGIC: &[u8] = b"\x93NUMPY";

/// The rows of a two-dimensional array. Fails where the file is anything else than that, or where a row is not finite or
/// not of unit length.
pub(super) fn rows(path: &Path) -> anyhow::Result<Vec<Vec<f32>>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    parsed(&bytes).with_context(|| format!("{} is not what is asked for", path.display()))
}

fn parsed(bytes: &[u8]) -> anyhow::Result<Vec<Vec<f32>>> {
    let Some((version, rest)) = bytes.strip_prefix(MAGIC).and_then(|rest| rest.split_first_chunk::<2>()) else {
        bail!("it is no npy file");
    };
    // The length of the header takes two bytes in the first version and four in later ones.
    let (length, rest) = match version[0] {
        1 => rest.split_first_chunk::<2>().map(|(length, rest)| (usize::from(u16::from_le_bytes(*length)), rest)),
        _ => rest.split_first_chunk::<4>().map(|(length, rest)| (u32::from_le_bytes(*length) as usize, rest)),
    }
    .context("it is cut short")?;
    ensure!(rest.len() >= length, "it is cut short");
    let (header, values) = rest.split_at(length);
    let header = String::from_utf8_lossy(header);
    ensure!(header.contains("'<f4'"), "its values are not 32-bit floats: {header}");
    ensure!(header.contains("'fortran_order': False"), "its rows do not lie side by side");
    let shape = header.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(shape, _)| shape);
    let shape: Vec<usize> =
        shape.unwrap_or_default().split(',').filter_map(|number| number.trim().parse().ok()).collect();
    let [n, width] = shape[..] else { bail!("it does not have two dimensions") };
    ensure!(width > 0 && values.len() == n * width * 4, "it is cut short");
    let (values, _) = values.as_chunks::<4>();
    let rows: Vec<Vec<f32>> =
        values.chunks_exact(width).map(|row| row.iter().map(|value| f32::from_le_bytes(*value)).collect()).collect();
    for (number, row) in rows.iter().enumerate() {
        let length = row.iter().map(|value| value * value).sum::<f32>();
        ensure!((length - 1.0).abs() < 1e-2, "row {number} is not of unit length");
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, values: &[f32]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
        bytes.extend(header.bytes());
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        bytes
    }

    #[test]
    fn rows_are_read_and_all_else_is_refused() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }   \n";
        assert_eq!(parsed(&file(header, &[0.6, 0.8, 1.0, 0.0])).unwrap(), [[0.6, 0.8], [1.0, 0.0]]);
        assert!(parsed(&file(header, &[0.6, 0.8, 1.0])).is_err());
        assert!(parsed(&file(header, &[0.6, 0.8, 1.0, 1.0])).is_err());
        assert!(parsed(&file(header, &[0.6, 0.8, f32::NAN, 1.0])).is_err());
        assert!(parsed(&file(&header.replace("f4", "f8"), &[0.6, 0.8, 1.0, 0.0])).is_err());
        assert!(parsed(&file(&header.replace("(2, 2)", "(4,)"), &[0.6, 0.8, 1.0, 0.0])).is_err());
        assert!(parsed(&file(&header.replace("False", "True"), &[0.6, 0.8, 1.0, 0.0])).is_err());
        assert!(parsed(b"text").is_err());
    }
}
