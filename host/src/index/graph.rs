//! Builds the links of a segment, the only file that names `hnsw_rs`: its graph is made on rows of codes, taken over as
//! flat lists and dropped. Runs on a thread of its own, takes no lock, searches nothing.
use hnsw_rs::prelude::{Distance, Hnsw};

use super::codes::Coded;
use super::entries::{NONE, count};
use super::kernels::kernels;
use super::links::{ABOVE, Layer, Links, WIDTH};
use super::parts::Array;
use super::segment::Stopped;

/// Links of a node in the upper layers, and twice as many in the lowest.
const LINKS: usize = ABOVE;
/// Nodes looked at to insert one.
const BUILDING_EFFORT: usize = 100;
const LAYERS: usize = 16;

/// Links the rows of codes, `width` bytes each; `step` is theirs. Ends as soon as `stop` says so.
pub(super) fn link(codes: &[u8], width: usize, step: f32, stop: impl Fn() -> bool) -> Result<Links, Stopped> {
    let rows = codes.chunks_exact(width);
    let (n, distance) = (rows.len(), OneMinusCosine { square: step * step });
    let graph = Hnsw::new(LINKS, n, LAYERS, BUILDING_EFFORT, distance);
    for (node, row) in rows.enumerate() {
        if stop() {
            return Err(Stopped);
        }
        graph.insert((row, node));
    }
    let (lowest, layers) = freeze(&graph, n);
    let mut links = Links { lowest: Array::Owned(lowest), layers };
    let mended = mend(&links, codes, width);
    if let Array::Owned(lowest) = &mut links.lowest {
        for (place, node) in mended {
            lowest[place] = node;
        }
    }
    Ok(links)
}

/// Of rows of codes. Never below 0, where rounding would put equal vectors and `hnsw_rs` panics.
struct OneMinusCosine {
    square: f32,
}

impl Distance<u8> for OneMinusCosine {
    fn eval(&self, left: &[u8], right: &[u8]) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "codes are less exact")]
        let product = (kernels().rows)(left, right) as f32;
        (1.0 - product * self.square).max(0.0)
    }
}

/// Takes the links over. Lists above the top layer of their point are leftovers of its insertion, and lists may name
/// points that never reached their layer: both are left out.
fn freeze(graph: &Hnsw<'_, u8, OneMinusCosine>, n: usize) -> (Vec<u32>, Vec<Layer>) {
    let points = graph.get_point_indexation();
    let tops = if n == 0 { 0 } else { usize::from(graph.get_max_level_observed()) };
    let nodes = |top: usize| points.get_layer_iterator(top).map(|point| count(point.get_origin_id()));
    let reaching = (1..=tops).map(|layer| {
        let mut nodes: Vec<u32> = (layer..=tops).flat_map(nodes).collect();
        nodes.sort_unstable();
        nodes
    });
    let reaching: Vec<Vec<u32>> = reaching.collect();
    let mut lowest = vec![NONE; n * WIDTH];
    let mut above: Vec<Vec<u32>> = reaching.iter().map(|nodes| vec![NONE; nodes.len() * ABOVE]).collect();
    for top in 0..=tops {
        for point in points.get_layer_iterator(top) {
            let node = count(point.get_origin_id());
            for (layer, list) in point.get_neighborhood_id().into_iter().enumerate().take(top + 1) {
                let to = list.iter().map(|neighbour| count(neighbour.d_id)).filter(|to| *to != node);
                let Some(upper) = layer.checked_sub(1) else {
                    fill(&mut lowest, node as usize, WIDTH, to);
                    continue;
                };
                let position = |node: u32| reaching[upper].binary_search(&node).ok();
                if let Some(at) = position(node) {
                    fill(&mut above[upper], at, ABOVE, to.filter_map(|to| position(to).map(count)));
                }
            }
        }
    }
    (lowest, reaching.into_iter().zip(above).map(|(nodes, links)| Layer::new(nodes, links)).collect())
}

fn fill(links: &mut [u32], at: usize, width: usize, to: impl Iterator<Item = u32>) {
    for (place, to) in links[at * width..(at + 1) * width].iter_mut().zip(to) {
        *place = to;
    }
}

/// For every node that no walk can reach a link from a near one that can be reached: its place in the lowest layer, and
/// the node. Some ten of 100,000 need it.
fn mend(links: &Links, codes: &[u8], width: usize) -> Vec<(usize, u32)> {
    let reached = links.reached();
    let lost = (0..).zip(&reached).filter(|(_, reached)| !**reached).map(|(node, _)| node);
    let mut mended: Vec<(usize, u32)> = Vec::new();
    for node in lost {
        let row = &codes[node as usize * width..(node as usize + 1) * width];
        let vector: Vec<f32> = row.iter().map(|code| f32::from(*code) - 128.0).collect();
        let near = links.walk(codes, width, &Coded::new(&vector), 64, |near| reached[near as usize]);
        let places = near.iter().flat_map(|near| *near as usize * WIDTH..(*near as usize + 1) * WIDTH);
        let free = |place: &usize| !mended.iter().any(|(taken, _)| taken == place);
        let mut places = places.filter(free);
        // Without room one of the nearest gives up its first link.
        let room = places.clone().find(|place| links.lowest[*place] == NONE).or_else(|| places.next());
        mended.extend(room.map(|place| (place, node)));
    }
    mended
}
