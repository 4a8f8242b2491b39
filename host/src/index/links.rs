//! Links between the nodes of a segment as flat lists, and the walk along them. Knows codes, but neither rows nor
//! entries; does not change once built.
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::codes::Coded;
use super::entries::NONE;
use super::kernels::{AHEAD, Kernels, kernels, prefetch};
use super::parts::Array;

/// Links of a node in the lowest layer.
pub(super) const WIDTH: usize = 2 * ABOVE;
/// Links of a node in each layer above.
pub(super) const ABOVE: usize = 16;

/// Unused places hold none and stand behind the used ones.
pub(super) struct Links {
    /// Of every node, [`WIDTH`] a node.
    pub(super) lowest: Array<u32>,
    /// The lowest first.
    pub(super) layers: Vec<Layer>,
}

/// A layer above the lowest.
pub(super) struct Layer {
    /// Ascending.
    pub(super) nodes: Array<u32>,
    /// Positions in `nodes`, [`ABOVE`] a node.
    pub(super) links: Array<u32>,
}

impl Layer {
    pub(super) fn new(nodes: Vec<u32>, links: Vec<u32>) -> Self {
        Self { nodes: Array::Owned(nodes), links: Array::Owned(links) }
    }
}

impl Links {
    /// The same in memory of its own.
    pub(super) fn copied(&self) -> Self {
        let layer = |layer: &Layer| Layer::new(layer.nodes.to_vec(), layer.links.to_vec());
        Self { lowest: Array::Owned(self.lowest.to_vec()), layers: self.layers.iter().map(layer).collect() }
    }

    pub(super) fn nodes(&self) -> usize {
        self.lowest.len() / WIDTH
    }

    /// Memory held.
    pub(super) fn bytes(&self) -> usize {
        self.lowest.bytes() + self.layers.iter().map(|layer| layer.nodes.bytes() + layer.links.bytes()).sum::<usize>()
    }

    /// Whether every link leads to a node, for links that come from a file.
    pub(super) fn is_sound(&self, nodes: usize) -> bool {
        let within = |links: &[u32], width: usize, nodes: usize| {
            links.len() == nodes * width && links.iter().all(|to| *to == NONE || (*to as usize) < nodes)
        };
        let layer = |layer: &Layer| {
            let Layer { nodes: members, links } = layer;
            within(links, ABOVE, members.len())
                && members.last().is_some_and(|last| (*last as usize) < nodes)
                && members.is_sorted_by(|left, right| left < right)
        };
        within(&self.lowest, WIDTH, nodes) && self.layers.iter().all(layer)
    }

    /// The `effort` nearest nodes that are admitted, in no order; `codes` holds a row of `width` bytes a node.
    ///
    /// All nodes are walked over and only the admitted ones kept, so one that is not still connects its neighbours. The
    /// work grows with one through the share that is admitted.
    pub(super) fn walk(
        &self,
        codes: &[u8],
        width: usize,
        query: &Coded,
        effort: usize,
        admits: impl Fn(u32) -> bool,
    ) -> Vec<u32> {
        if self.nodes() == 0 {
            return vec![];
        }
        let Kernels { codes: dot, listed, .. } = kernels();
        let row = |node: u32| &codes[node as usize * width..(node as usize + 1) * width];
        // The step of the codes and the bias of the query are the same for all: sums of products give the order.
        let nearness = |node: u32| dot(row(node), &query.values);
        let start = self.descend(nearness);
        let lowest: &[u32] = &self.lowest;
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.begin(self.nodes());
            let Scratch { marks, epoch, open, best, fresh, sums } = scratch;
            let mut first_time = |node: u32| std::mem::replace(&mut marks[node as usize], *epoch) != *epoch;
            first_time(start);
            fresh.push(start);
            let mut worst = i32::MIN;
            loop {
                listed(codes, &query.values, fresh, sums);
                for (node, near) in fresh.drain(..).zip(sums.drain(..)) {
                    if near <= worst && best.len() >= effort {
                        continue;
                    }
                    open.push((near, node));
                    if admits(node) {
                        best.push(Reverse((near, node)));
                        if best.len() > effort {
                            best.pop();
                        }
                        if best.len() >= effort {
                            worst = best.peek().map_or(i32::MIN, |worst| worst.0.0);
                        }
                    }
                }
                let Some((near, node)) = open.pop() else { break };
                if near < worst {
                    break;
                }
                // First collected and asked for, then compared: the loads overlap.
                for to in list(lowest, node as usize, WIDTH) {
                    if first_time(to) {
                        if fresh.len() < AHEAD {
                            prefetch(row(to));
                        }
                        fresh.push(to);
                    }
                }
            }
            best.drain().map(|Reverse((_, node))| node).collect()
        })
    }

    /// Which nodes a walk can come to.
    pub(super) fn reached(&self) -> Vec<bool> {
        let mut reached = vec![false; self.nodes()];
        let mut open: Vec<u32> = self.layers.first().map_or(vec![0], |layer| layer.nodes.to_vec());
        open.retain(|node| (*node as usize) < reached.len());
        for node in &open {
            reached[*node as usize] = true;
        }
        while let Some(node) = open.pop() {
            for to in list(&self.lowest, node as usize, WIDTH) {
                if !std::mem::replace(&mut reached[to as usize], true) {
                    open.push(to);
                }
            }
        }
        reached
    }

    /// A near node to start from: in each layer from link to link until nothing is nearer.
    fn descend(&self, nearness: impl Fn(u32) -> i32) -> u32 {
        let Some(top) = self.layers.last() else { return 0 };
        let mut node = top.nodes[0];
        for layer in self.layers.iter().rev() {
            let Ok(mut at) = layer.nodes.binary_search(&node) else { continue };
            let mut near = nearness(node);
            loop {
                let linked = list(&layer.links, at, ABOVE).map(|to| (nearness(layer.nodes[to as usize]), to));
                match linked.max() {
                    Some((nearer, to)) if nearer > near => (near, at) = (nearer, to as usize),
                    _ => break,
                }
            }
            node = layer.nodes[at];
        }
        node
    }
}

fn list(links: &[u32], at: usize, width: usize) -> impl Iterator<Item = u32> {
    links[at * width..(at + 1) * width].iter().copied().take_while(|to| *to != NONE)
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What a walk needs and the next one may use again.
#[derive(Default)]
struct Scratch {
    /// By node the last walk that came there.
    marks: Vec<u16>,
    epoch: u16,
    /// Nodes whose links are still to be looked at, by nearness.
    open: BinaryHeap<(i32, u32)>,
    best: BinaryHeap<Reverse<(i32, u32)>>,
    fresh: Vec<u32>,
    sums: Vec<i32>,
}

impl Scratch {
    /// Forgets the walk before by counting on.
    fn begin(&mut self, nodes: usize) {
        if self.marks.len() < nodes {
            self.marks.resize(nodes, 0);
        }
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            self.marks.fill(0);
            self.epoch = 1;
        }
        self.open.clear();
        self.best.clear();
        self.fresh.clear();
    }
}
