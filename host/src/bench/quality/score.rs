//! How good a ranking is: the usual metrics, averaged over queries. Equal to the last digit to the scorer of the evaluation
//! sets. Knows no engine.

/// The metrics, in the order of [`Metrics`].
pub(super) const NAMES: [&str; 9] = ["R@1", "R@5", "R@10", "any@5", "any@10", "all@5", "all@10", "MRR", "nDCG@10"];

/// Of one query as shares, of many in percent.
pub(super) type Metrics = [f64; 9];

/// Gold of these categories misleads or is absent: they have rows of their own and are no part of the whole.
const APART: [&str; 2] = ["adversarial", "abstention"];

/// Means over some queries.
#[derive(Debug)]
pub(super) struct Row {
    /// `all`, or a category.
    pub(super) name: String,
    pub(super) queries: usize,
    pub(super) percent: Metrics,
}

/// Every metric of one ranking. Gold is not empty.
#[expect(clippy::cast_precision_loss, reason = "places and counts are small")]
pub(super) fn measured(gold: &[String], ranking: &[String]) -> Metrics {
    let places: Vec<usize> =
        ranking.iter().enumerate().filter(|(_, id)| gold.contains(id)).map(|(place, _)| place).collect();
    let found = |k: usize| places.iter().filter(|place| **place < k).count();
    let recall = |k: usize| found(k) as f64 / gold.len() as f64;
    let any = |k: usize| f64::from(u8::from(found(k) > 0));
    let all = |k: usize| f64::from(u8::from(found(k) == gold.len()));
    let discount = |place: usize| 1.0 / (place as f64 + 2.0).log2();
    let gain: f64 = places.iter().filter(|place| **place < 10).map(|place| discount(*place)).sum();
    let ideal: f64 = (0..gold.len().min(10)).map(discount).sum();
    let reciprocal = places.first().map_or(0.0, |place| 1.0 / (*place as f64 + 1.0));
    [recall(1), recall(5), recall(10), any(5), any(10), all(5), all(10), reciprocal, gain / ideal]
}

/// `all` first, then each category, where there is more than one, by name.
pub(super) fn rows(measured: &[(Option<&str>, Metrics)]) -> Vec<Row> {
    let is_apart = |category: Option<&str>| category.is_some_and(|category| APART.contains(&category));
    let mut names: Vec<&str> = measured.iter().filter_map(|(category, _)| *category).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() == 1 && !is_apart(names.first().copied()) {
        names.clear();
    }
    let of = |name: &str| -> Vec<Metrics> {
        measured.iter().filter(|(category, _)| *category == Some(name)).map(|(_, m)| *m).collect()
    };
    let whole: Vec<Metrics> = measured.iter().filter(|(category, _)| !is_apart(*category)).map(|(_, m)| *m).collect();
    let shown = |name: &str| if is_apart(Some(name)) { format!("{name} (apart)") } else { name.to_owned() };
    let categories = names.iter().map(|name| (shown(name), of(name)));
    [("all".to_owned(), whole)]
        .into_iter()
        .chain(categories)
        .filter_map(|(name, all): (String, Vec<Metrics>)| {
            (!all.is_empty()).then(|| Row { name, queries: all.len(), percent: mean(&all) })
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "queries are few")]
fn mean(all: &[Metrics]) -> Metrics {
    std::array::from_fn(|metric| 1e2 * all.iter().map(|one| one[metric]).sum::<f64>() / all.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(gold: &[&str], ranking: &[&str], expected: Metrics) {
        let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let found = measured(&owned(gold), &owned(ranking));
        for (place, name) in NAMES.iter().enumerate() {
            assert!((found[place] - expected[place]).abs() < 1e-9, "{name}: {found:?}");
        }
    }

    #[test]
    fn metrics_by_hand() {
        check(&["a"], &["a", "b"], [1.0; 9]);
        check(&["a"], &["b"], [0.0; 9]);
        check(
            &["a", "c"],
            &["b", "a"],
            [0.0, 0.5, 0.5, 1.0, 1.0, 0.0, 0.0, 0.5, (1.0 / 3_f64.log2()) / (1.0 + 1.0 / 3_f64.log2())],
        );
        let eleven = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "a"];
        check(&["a"], &eleven, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0 / 11.0, 0.0]);
    }

    #[test]
    fn what_misleads_is_no_part_of_the_whole() {
        let all = rows(&[(Some("temporal"), [1.0; 9]), (Some("adversarial"), [0.0; 9]), (None, [0.5; 9])]);
        let told: Vec<(&str, usize, f64)> =
            all.iter().map(|row| (row.name.as_str(), row.queries, row.percent[0])).collect();
        assert_eq!(told, [("all", 2, 75.0), ("adversarial (apart)", 1, 0.0), ("temporal", 1, 100.0)]);
        let one_category = rows(&[(Some("temporal"), [1.0; 9])]);
        assert_eq!(one_category.len(), 1);
    }
}
