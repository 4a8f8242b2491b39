//! Diversity: what is like a better hit gives up a share of its score (maximal marginal relevance, Carbonell and Goldstein
//! 1998), by the vectors that the index holds.
use crate::Result;
use crate::capability::Host;
use crate::rank::Ranked;

/// Picks beyond the limit, because some may turn out to be gone or hidden.
const MORE: usize = 100;

/// The best first, where `share` of a score is lost to the likeness with those before. What has no vector loses nothing.
pub(crate) fn spread(host: &impl Host, share: f32, limit: usize, ranked: Vec<Ranked>) -> Result<Vec<Ranked>> {
    let keys: Vec<String> = ranked.iter().map(|ranked| ranked.candidate.key.clone()).collect();
    // The contract takes a thousand keys; what ranks below is not picked anyway.
    let keys = &keys[..keys.len().min(1_000)];
    let (vectors, counts) = host.load(keys)?;
    let mut next = 0;
    let mut rest: Vec<(Ranked, Option<u32>)> = ranked
        .into_iter()
        .zip(counts)
        .map(|(ranked, count)| {
            let place = (count > 0).then(|| next + ranked.candidate.passage.min(count - 1));
            next += count;
            (ranked, place)
        })
        .collect();
    let mut likeness = vec![0.0_f32; rest.len()];
    let mut picked = vec![];
    while !rest.is_empty() && picked.len() < limit + MORE {
        let left = |n: usize, score: f32| score - share * likeness[n] * score.max(0.0);
        let best = (0..rest.len())
            .reduce(|best, n| if left(n, rest[n].0.score) > left(best, rest[best].0.score) { n } else { best })
            .expect("something is left");
        let (mut ranked, place) = rest.remove(best);
        ranked.lose(likeness.remove(best), share);
        if let Some(place) = place {
            let others: Vec<u32> = rest.iter().filter_map(|(_, place)| *place).collect();
            let mut similar = host.similarity(&vectors, place, &others)?.into_iter();
            for ((_, place), likeness) in rest.iter().zip(&mut likeness) {
                if place.is_some() {
                    *likeness = likeness.max(similar.next().unwrap_or(0.0));
                }
            }
        }
        picked.push(ranked);
    }
    Ok(picked)
}
