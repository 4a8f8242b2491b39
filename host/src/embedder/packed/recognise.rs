//! Finds a BERT-style encoder in an ONNX file, by what is computed of what, whatever the nodes are called. Takes only
//! what it understands wholly: anything else is an error, which says where understanding ended.
use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use tract_onnx::prelude::*;

use super::blocks::Norm;
use super::kernels::Gelu;
use super::linear::Dense;
use super::ops::Table;
use crate::embedder::tract::{IDS, MASK, ONNX_FLOAT, ONNX_FLOAT16, ONNX_INT64, TYPES};

/// The constants of an encoder, in the order in which they are used.
#[derive(Debug)]
pub(super) struct Encoder {
    pub(super) width: usize,
    pub(super) words: Table,
    /// A row for each place in a text, with the vector of the token type added.
    pub(super) positions: Vec<f32>,
    pub(super) norm: Norm,
    pub(super) layers: Vec<Layer>,
}

#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) heads: usize,
    /// The scale of the scores is part of the queries.
    pub(super) query: Dense,
    pub(super) key: Dense,
    pub(super) value: Dense,
    pub(super) output: Dense,
    pub(super) attention_norm: Norm,
    pub(super) up: Dense,
    pub(super) gelu: Gelu,
    pub(super) down: Dense,
    pub(super) norm: Norm,
}

/// The encoder whose vectors of tokens are the file's first output; reads up to `max_tokens` of a text.
pub(super) fn recognise(file: &ModelProto, max_tokens: usize) -> Result<Encoder, String> {
    let graph = file.graph.as_ref().ok_or("the file has no graph")?;
    let graph = Graph::new(file, graph);
    let mut x = graph.whole.output.first().ok_or("the graph has no output")?.name.as_str();
    let mut layers = Vec::new();
    loop {
        let (norm, sum) = graph.norm(x)?;
        if let Some((words, others)) = graph.lookup(sum)? {
            let width = norm.gain.len();
            if words.len() == 0 || !words.len().is_multiple_of(width) {
                return Err(format!("the words have not {width} numbers each"));
            }
            let positions = graph.positions(&others, max_tokens, width)?;
            layers.reverse();
            return Ok(Encoder { width, words, positions, norm, layers });
        }
        // A graph that runs in a circle would go on for ever.
        if layers.len() > graph.whole.node.len() {
            return Err("the graph has no beginning".to_owned());
        }
        let (layer, input) = graph.layer(norm, sum)?;
        layers.push(layer);
        x = input;
    }
}

/// How deep an expression may be.
const DEPTH: usize = 24;

struct Graph<'a> {
    file: &'a ModelProto,
    whole: &'a GraphProto,
    /// By what they give.
    nodes: HashMap<&'a str, &'a NodeProto>,
    constants: HashMap<&'a str, &'a TensorProto>,
}

/// A projection split into heads.
struct Heads<'a> {
    dense: Dense,
    input: &'a str,
    count: usize,
    scale: f32,
}

impl<'a> Graph<'a> {
    fn new(file: &'a ModelProto, graph: &'a GraphProto) -> Self {
        let outputs = |node: &'a NodeProto| node.output.iter().map(move |output| (output.as_str(), node));
        Self {
            file,
            whole: graph,
            nodes: graph.node.iter().flat_map(outputs).collect(),
            constants: graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect(),
        }
    }

    /// What gives this value, behind nodes that hand it on as it is.
    fn source(&self, mut name: &'a str) -> &'a str {
        for _ in 0..DEPTH {
            let Some(node) = self.nodes.get(name) else { break };
            let is_transparent = match node.op_type.as_str() {
                "Identity" | "Dropout" => true,
                "Cast" => attribute(node, "to").is_some_and(|to| [ONNX_FLOAT, ONNX_INT64].contains(&whole(to.i))),
                _ => false,
            };
            match node.input.first() {
                Some(input) if is_transparent => name = input,
                _ => break,
            }
        }
        name
    }

    /// The node that gives this value, if it does `op`.
    fn node(&self, name: &'a str, op: &str) -> Option<&'a NodeProto> {
        let node = self.nodes.get(self.source(name)).copied()?;
        (node.op_type == op).then_some(node)
    }

    fn expect(&self, name: &'a str, op: &str, role: &str) -> Result<&'a NodeProto, String> {
        self.node(name, op).ok_or_else(|| {
            let found = self.nodes.get(self.source(name)).map_or("nothing", |node| node.op_type.as_str());
            format!("{role}: `{name}` comes from {found} instead of {op}")
        })
    }

    /// The two inputs of the node that does `op`, in both orders.
    fn either(&self, name: &'a str, op: &str) -> Vec<[&'a str; 2]> {
        match self.node(name, op).map(|node| node.input.as_slice()) {
            Some([a, b]) => vec![[a, b], [b, a]],
            _ => Vec::new(),
        }
    }

    fn constant(&self, name: &'a str) -> Option<&'a TensorProto> {
        let name = self.source(name);
        let constant = || attribute(self.node(name, "Constant")?, "value")?.t.as_ref();
        self.constants.get(name).copied().or_else(constant)
    }

    fn numbers(&self, name: &'a str) -> Option<Vec<f32>> {
        floats(self.constant(name)?)
    }

    /// A constant of one number.
    fn number(&self, name: &'a str) -> Option<f32> {
        let tensor = self.constant(name)?;
        let is_one = tensor.dims.iter().all(|dim| *dim == 1);
        is_one.then(|| floats(tensor)).flatten()?.first().copied()
    }

    /// The whole numbers of a shape; `None` for one that is no constant.
    fn shape(&self, name: &'a str, depth: usize) -> Option<Vec<Option<i64>>> {
        if let Some(tensor) = self.constant(name) {
            return Some(integers(tensor)?.into_iter().map(Some).collect());
        }
        let node = self.node(name, "Concat").filter(|_| depth < DEPTH)?;
        let parts = node.input.iter().map(|part| {
            let part = self.node(part, "Unsqueeze").and_then(|node| node.input.first()).unwrap_or(part);
            self.shape(part, depth + 1).filter(|part| part.len() == 1).and_then(|part| part[0])
        });
        Some(parts.collect())
    }

    /// A norm over the last axis, as one node or as its parts, and what it is of.
    fn norm(&self, name: &'a str) -> Result<(Norm, &'a str), String> {
        let found = match self.node(name, "LayerNormalization") {
            Some(node) => self.whole_norm(node),
            None => self.norm_of_parts(name),
        };
        let (norm, input) = found.ok_or_else(|| format!("a norm: `{name}` is none"))?;
        if norm.gain.len() != norm.bias.len() || norm.gain.is_empty() {
            return Err(format!("a norm: `{name}` has {} and {} numbers", norm.gain.len(), norm.bias.len()));
        }
        Ok((norm, input))
    }

    fn whole_norm(&self, node: &'a NodeProto) -> Option<(Norm, &'a str)> {
        let [input, gain, bias] = node.input.as_slice() else { return None };
        let axis = attribute(node, "axis").map_or(-1, |axis| axis.i);
        let epsilon = attribute(node, "epsilon").map_or(1e-5, |epsilon| epsilon.f);
        let norm = Norm { gain: self.numbers(gain)?.into(), bias: self.numbers(bias)?.into(), epsilon };
        [-1, 2].contains(&axis).then_some((norm, input))
    }

    /// `(x - mean) / √(mean of its squares + ε) · gain + bias`.
    fn norm_of_parts(&self, name: &'a str) -> Option<(Norm, &'a str)> {
        let (scaled, bias) = self.either(name, "Add").into_iter().find_map(|[a, b]| Some((a, self.numbers(b)?)))?;
        let (divided, gain) = self.either(scaled, "Mul").into_iter().find_map(|[a, b]| Some((a, self.numbers(b)?)))?;
        let [centred, deviation] = self.node(divided, "Div")?.input.as_slice() else { return None };
        let input = self.centred(centred)?;
        let variance = self.node(deviation, "Sqrt")?.input.first()?;
        let (mean, epsilon) = self.either(variance, "Add").into_iter().find_map(|[a, b]| Some((a, self.number(b)?)))?;
        let squares = self.mean_of(mean)?;
        let base = match (self.node(squares, "Pow"), self.node(squares, "Mul")) {
            (Some(power), _) if (self.number(power.input.get(1)?)? - 2.0).abs() < f32::EPSILON => {
                power.input.first()?
            }
            (None, Some(product)) if product.input.first() == product.input.get(1) => product.input.first()?,
            _ => return None,
        };
        (self.centred(base)? == input).then_some((Norm { gain: gain.into(), bias: bias.into(), epsilon }, input))
    }

    /// `x` of `x - mean of x`.
    fn centred(&self, name: &'a str) -> Option<&'a str> {
        let [x, mean] = self.node(name, "Sub")?.input.as_slice() else { return None };
        (self.source(self.mean_of(mean)?) == self.source(x)).then_some(self.source(x))
    }

    /// What this is the mean of, over the last axis.
    fn mean_of(&self, name: &'a str) -> Option<&'a str> {
        let node = self.node(name, "ReduceMean")?;
        let axes = match (attribute(node, "axes"), node.input.get(1)) {
            (Some(axes), _) => axes.ints.clone(),
            (None, Some(axes)) => integers(self.constant(axes)?)?,
            (None, None) => return None,
        };
        let keeps = attribute(node, "keepdims").is_none_or(|keeps| keeps.i == 1);
        (keeps && (axes == [-1] || axes == [2])).then_some(node.input.first()?)
    }

    /// `x · weights + bias`, and what `x` is.
    fn dense(&self, name: &'a str) -> Option<(Dense, &'a str)> {
        self.either(name, "Add").into_iter().find_map(|[product, bias]| {
            let [x, weights] = self.node(product, "MatMul")?.input.as_slice() else { return None };
            let dense = Dense { bias: self.numbers(bias)?, weights: Vec::new() };
            let outputs = dense.bias.len();
            let weights = self.matrix(weights, outputs)?;
            Some((Dense { weights, ..dense }, self.source(x)))
        })
    }

    /// A constant matrix of so many columns, row-major, perhaps turned.
    fn matrix(&self, name: &'a str, columns: usize) -> Option<Vec<f32>> {
        let columns_of = |tensor: &TensorProto, axis: usize| {
            tensor.dims.len() == 2 && usize::try_from(tensor.dims[axis]) == Ok(columns) && columns > 0
        };
        if let Some(turned) = self.node(name, "Transpose") {
            let tensor = self.constant(turned.input.first()?).filter(|tensor| columns_of(tensor, 0))?;
            let is_turned = axes_of(turned).is_none_or(|axes| axes == [1, 0]);
            let numbers = is_turned.then(|| floats(tensor)).flatten()?;
            let rows = numbers.len() / columns;
            return Some((0..rows).flat_map(|row| numbers.iter().skip(row).step_by(rows)).copied().collect());
        }
        floats(self.constant(name).filter(|tensor| columns_of(tensor, 1))?)
    }

    /// A layer from the sum before its last norm, and what it is of.
    fn layer(&self, norm: Norm, sum: &'a str) -> Result<(Layer, &'a str), String> {
        let ((down, inner), between) = self.residual(sum, "the end of a layer")?;
        let (up, gelu, input) = self.activation(inner)?;
        if input != self.source(between) {
            return Err(format!("a layer: `{inner}` is not of `{between}`, which is added to it"));
        }
        let (attention_norm, sum) = self.norm(between)?;
        let ((output, mixed), x) = self.residual(sum, "the end of an attention")?;
        let (query, key, value) = self.attention(mixed)?;
        let x = self.source(x);
        if [&query, &key, &value].into_iter().any(|heads| heads.input != x) {
            return Err(format!("attention: queries, keys and values are not all of `{x}`"));
        }
        if query.count != key.count || key.count != value.count {
            return Err("attention: queries, keys and values have not as many heads".to_owned());
        }
        let scale = query.scale * key.scale;
        let mut scaled = query.dense;
        for weight in scaled.weights.iter_mut().chain(&mut scaled.bias) {
            *weight *= scale;
        }
        let heads = query.count;
        let (key, value) = (key.dense, value.dense);
        let layer = Layer { heads, query: scaled, key, value, output, attention_norm, up, gelu, down, norm };
        layer.check()?;
        Ok((layer, x))
    }

    /// A linear layer plus something else.
    fn residual(&self, name: &'a str, role: &str) -> Result<((Dense, &'a str), &'a str), String> {
        let pairs = self.either(name, "Add").into_iter();
        let found = pairs.into_iter().find_map(|[linear, other]| Some((self.dense(linear)?, other)));
        found.ok_or_else(|| format!("{role}: `{name}` is not a linear layer and what it is added to"))
    }

    /// GELU of a linear layer, in whatever parts: told by what it computes.
    fn activation(&self, name: &'a str) -> Result<(Dense, Gelu, &'a str), String> {
        let mut base = name;
        let mut found = None;
        for _ in 0..DEPTH {
            found = self.dense(base);
            if found.is_some() {
                break;
            }
            let Some(node) = self.nodes.get(self.source(base)) else { break };
            let Some(next) = node.input.iter().find(|input| self.constant(input).is_none()) else { break };
            base = next;
        }
        let (dense, input) = found.ok_or_else(|| format!("a feed-forward: `{name}` is of no linear layer"))?;
        let base = self.source(base);
        let follows = |form: fn(f64) -> f64| {
            (-20..=20).all(|step| {
                let x = f64::from(step) * 0.25;
                self.at(name, base, x, 0).is_some_and(|y| (y - form(x)).abs() < 2e-5)
            })
        };
        if follows(|x| x / 2.0 * (1.0 + erf(x / 2_f64.sqrt()))) {
            return Ok((dense, Gelu::Erf, input));
        }
        if follows(|x| x / 2.0 * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())) {
            return Ok((dense, Gelu::Tanh, input));
        }
        Err(format!("a feed-forward: `{name}` is not the GELU of a linear layer"))
    }

    /// The value of an expression of one variable.
    fn at(&self, name: &'a str, variable: &'a str, x: f64, depth: usize) -> Option<f64> {
        let name = self.source(name);
        if name == variable {
            return Some(x);
        }
        if let Some(number) = self.number(name) {
            return Some(f64::from(number));
        }
        let node = self.nodes.get(name).filter(|_| depth < DEPTH)?;
        let inputs: Option<Vec<f64>> = node.input.iter().map(|input| self.at(input, variable, x, depth + 1)).collect();
        match (node.op_type.as_str(), inputs?.as_slice()) {
            ("Add", [a, b]) => Some(a + b),
            ("Sub", [a, b]) => Some(a - b),
            ("Mul", [a, b]) => Some(a * b),
            ("Div", [a, b]) => Some(a / b),
            ("Pow", [a, b]) => Some(a.powf(*b)),
            ("Sqrt", [a]) => Some(a.sqrt()),
            ("Neg", [a]) => Some(-a),
            ("Erf", [a]) => Some(erf(*a)),
            ("Tanh", [a]) => Some(a.tanh()),
            ("Gelu", [a]) => {
                let is_tanh = attribute(node, "approximate").is_some_and(|form| form.s == b"tanh");
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (a + 0.044_715 * a.powi(3));
                Some(a / 2.0 * (1.0 + if is_tanh { inner.tanh() } else { erf(a / 2_f64.sqrt()) }))
            }
            _ => None,
        }
    }

    /// Queries, keys and values of `softmax(queries · keys) · values`, with the heads joined again.
    fn attention(&self, name: &'a str) -> Result<(Heads<'a>, Heads<'a>, Heads<'a>), String> {
        let joined = self.expect(name, "Reshape", "attention")?;
        let turned = self.expect(first(joined)?, "Transpose", "attention")?;
        if axes_of(turned).as_deref() != Some(&[0, 2, 1, 3]) {
            return Err(format!("attention: `{name}` joins other axes than heads"));
        }
        let mixed = self.expect(first(turned)?, "MatMul", "attention")?;
        let [shares, value] = mixed.input.as_slice() else { return Err("attention: a product of one".to_owned()) };
        let softmax = self.expect(shares, "Softmax", "attention")?;
        if !attribute(softmax, "axis").is_none_or(|axis| [-1, 3].contains(&axis.i)) {
            return Err(format!("attention: `{shares}` shares along another axis than the tokens"));
        }
        let (product, scale) = self.scores(first(softmax)?)?;
        let [query, key] = product.input.as_slice() else { return Err("attention: a product of one".to_owned()) };
        let mut query = self.heads(query, [0, 2, 1, 3])?;
        query.scale *= scale;
        Ok((query, self.heads(key, [0, 2, 3, 1])?, self.heads(value, [0, 2, 1, 3])?))
    }

    /// The product of queries and keys behind mask and scale, and the scale.
    fn scores(&self, name: &'a str) -> Result<(&'a NodeProto, f32), String> {
        let (mut name, mut scale, mut is_masked) = (name, 1.0, false);
        for _ in 0..DEPTH {
            if let Some(product) = self.node(name, "MatMul") {
                return if is_masked { Ok((product, scale)) } else { Err("attention: no mask".to_owned()) };
            }
            if let Some((next, factor)) = self.scaled(name) {
                (name, scale) = (next, scale * factor);
                continue;
            }
            let mut sides = self.either(name, "Add").into_iter();
            let masked = sides.find(|[_, mask]| self.is_mask(mask));
            let Some([next, _]) = masked.filter(|_| !is_masked) else { break };
            (name, is_masked) = (next, true);
        }
        Err(format!("attention: `{name}` is no scaled and masked product"))
    }

    /// What this is the multiple of.
    fn scaled(&self, name: &'a str) -> Option<(&'a str, f32)> {
        if let Some([a, b]) = self.node(name, "Div").map(|node| node.input.as_slice()) {
            return Some((a, 1.0 / self.number(b)?));
        }
        self.either(name, "Mul").into_iter().find_map(|[a, b]| Some((a, self.number(b)?)))
    }

    /// Whether it is made of the mask, and adds nothing where no token is masked.
    fn is_mask(&self, name: &'a str) -> bool {
        let (nodes, inputs) = self.behind(&[name]);
        if nodes.iter().any(|node| self.nodes[node].op_type == "MatMul") {
            return false;
        }
        let ones = self.evaluate(name, 3, 4);
        inputs.contains(MASK) && ones.is_ok_and(|(_, ones)| ones.iter().all(|x| *x == 0.0))
    }

    /// A projection behind the splitting into heads, whose axes must end up in this order.
    fn heads(&self, name: &'a str, order: [usize; 4]) -> Result<Heads<'a>, String> {
        let (mut at, mut scale, mut axes) = (name, 1.0, [0, 1, 2, 3]);
        for _ in 0..DEPTH {
            if let Some((next, factor)) = self.scaled(at) {
                (at, scale) = (next, scale * factor);
            } else if let Some(turned) = self.node(at, "Transpose") {
                let perm = axes_of(turned).filter(|perm| perm.len() == 4 && perm.iter().all(|axis| *axis < 4));
                let perm = perm.ok_or_else(|| format!("attention: `{at}` turns what are no heads"))?;
                (at, axes) = (first(turned)?, axes.map(|axis| perm[axis]));
            } else {
                break;
            }
        }
        let split = self.expect(at, "Reshape", "heads")?;
        let shape = split.input.get(1).and_then(|shape| self.shape(shape, 0)).filter(|shape| shape.len() == 4);
        let shape = shape.ok_or_else(|| format!("heads: the shape of `{at}` is not known"))?;
        let (dense, input) =
            self.dense(first(split)?).ok_or_else(|| format!("heads: `{at}` splits no linear layer"))?;
        let width = dense.outputs();
        let known = |dim: Option<i64>| dim.and_then(|dim| usize::try_from(dim).ok()).filter(|dim| *dim > 0);
        let heads = match (known(shape[2]), known(shape[3])) {
            (Some(heads), Some(size)) if heads * size == width => heads,
            (Some(heads), None) if width.is_multiple_of(heads) => heads,
            (None, Some(size)) if width.is_multiple_of(size) => width / size,
            _ => return Err(format!("heads: `{at}` does not split {width} numbers")),
        };
        if axes != order {
            return Err(format!("heads: the axes of `{name}` are in the order {axes:?}"));
        }
        Ok(Heads { dense, input, count: heads, scale })
    }

    /// The table of words and whatever else is added to its rows; `None` where no table is looked up.
    fn lookup(&self, sum: &'a str) -> Result<Option<(Table, Vec<&'a str>)>, String> {
        let mut parts = vec![sum];
        for _ in 0..DEPTH {
            let sums = parts.iter().position(|part| self.node(part, "Add").is_some());
            let Some(at) = sums else { break };
            let part = parts.swap_remove(at);
            parts.extend(self.node(part, "Add").into_iter().flat_map(|node| node.input.iter().map(String::as_str)));
        }
        let is_words = |part: &&str| {
            let inputs = self.node(part, "Gather").map(|node| node.input.as_slice());
            matches!(inputs, Some([_, ids]) if self.source(ids) == IDS)
        };
        let Some(at) = parts.iter().position(is_words) else { return Ok(None) };
        let words = self.expect(parts.swap_remove(at), "Gather", "words")?;
        let table = self.constant(first(words)?).filter(|table| table.dims.len() == 2);
        let is_by_row = attribute(words, "axis").is_none_or(|axis| axis.i == 0);
        let table = table.filter(|_| is_by_row).ok_or("words: they are looked up in no table")?;
        let words =
            if table.data_type == ONNX_FLOAT16 { halves(table).map(|halves| Table::Half(halves.into())) } else { None };
        let words = words.or_else(|| floats(table).map(|floats| Table::Full(floats.into())));
        Ok(Some((words.ok_or("words: the table has not its numbers")?, parts)))
    }

    /// What is added to the words at each place of a text, which must depend on nothing but the place.
    fn positions(&self, parts: &[&'a str], max_tokens: usize, width: usize) -> Result<Vec<f32>, String> {
        let mut rows = vec![0.0; max_tokens * width];
        for part in parts {
            let at = |length: usize, id: i64| {
                let (_, numbers) = self.evaluate(part, length, id)?;
                match numbers.len() {
                    count if count == length * width => Ok(numbers),
                    count if count == width => Ok(numbers.repeat(length)),
                    count => Err(format!("positions: `{part}` has {count} numbers for {length} tokens")),
                }
            };
            let all = at(max_tokens, 4)?;
            let some = at(max_tokens.div_ceil(2), 5)?;
            if all[..some.len()] != some {
                return Err(format!("positions: `{part}` depends on more than the place"));
            }
            for (row, x) in rows.iter_mut().zip(all) {
                *row += x;
            }
        }
        Ok(rows)
    }

    /// What these values are computed from: nodes, and the inputs of the graph.
    fn behind(&self, names: &[&'a str]) -> (HashSet<&'a str>, HashSet<&'a str>) {
        let (mut nodes, mut inputs) = (HashSet::new(), HashSet::new());
        let mut next = names.to_vec();
        while let Some(name) = next.pop() {
            match self.nodes.get(name) {
                Some(node) if node.output.iter().all(|output| nodes.insert(output.as_str())) => {
                    next.extend(node.input.iter().map(String::as_str));
                }
                Some(_) => {}
                None => {
                    if self.whole.input.iter().any(|input| input.name == name) {
                        inputs.insert(name);
                    }
                }
            }
        }
        (nodes, inputs)
    }

    /// The value for one text of so many times this token, unmasked and of type 0, computed by tract.
    fn evaluate(&self, name: &'a str, length: usize, id: i64) -> Result<(Vec<usize>, Vec<f32>), String> {
        let (behind, inputs) = self.behind(&[name]);
        let uses = |node: &&NodeProto| node.output.iter().any(|output| behind.contains(output.as_str()));
        let node: Vec<NodeProto> = self.whole.node.iter().filter(uses).cloned().collect();
        let constants: HashSet<&str> = node.iter().flat_map(|node| &node.input).map(String::as_str).collect();
        let is_used = |tensor: &&TensorProto| constants.contains(tensor.name.as_str()) || tensor.name == name;
        let graph = GraphProto {
            initializer: self.whole.initializer.iter().filter(is_used).cloned().collect(),
            input: self.whole.input.iter().filter(|input| inputs.contains(input.name.as_str())).cloned().collect(),
            output: vec![ValueInfoProto { name: name.to_owned(), ..ValueInfoProto::default() }],
            node,
            ..GraphProto::default()
        };
        let values = graph.input.iter().map(|input| {
            let value = match input.name.as_str() {
                IDS => id,
                MASK => 1,
                TYPES => 0,
                other => return Err(format!("`{other}` is no input of a text encoder")),
            };
            let tensor = Tensor::from_shape(&[1, length], &vec![value; length]);
            tensor.map(TValue::from).map_err(|cause| format!("{cause:#}"))
        });
        let values = values.collect::<Result<TVec<_>, _>>()?;
        let part = ModelProto { graph: Some(graph), ..shell(self.file) };
        run(&part, values, length).map_err(|cause| format!("`{name}`: {cause:#}"))
    }
}

impl Layer {
    /// Whether the sizes agree.
    fn check(&self) -> Result<(), String> {
        let width = self.norm.gain.len();
        let square = [&self.query, &self.key, &self.value, &self.output];
        let is_square = square.into_iter().all(|dense| dense.inputs() == width && dense.outputs() == width);
        let is_wide = self.up.inputs() == width && self.down.outputs() == width;
        if is_square && is_wide && self.up.outputs() == self.down.inputs() && self.attention_norm.gain.len() == width {
            return Ok(());
        }
        Err("a layer: its parts have not one width".to_owned())
    }
}

/// The file without its graph.
fn shell(file: &ModelProto) -> ModelProto {
    ModelProto { ir_version: file.ir_version, opset_import: file.opset_import.clone(), ..ModelProto::default() }
}

/// The only output, for inputs of one text.
fn run(file: &ModelProto, values: TVec<TValue>, length: usize) -> TractResult<(Vec<usize>, Vec<f32>)> {
    let mut model = tract_onnx::onnx().model_for_proto_model(file)?;
    for input in 0..values.len() {
        model.set_input_fact(input, i64::fact([1, length]).into())?;
    }
    let outputs = model.into_typed()?.into_runnable()?.run(values)?;
    let output = outputs[0].cast_to::<f32>()?;
    let numbers = output.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
    Ok((output.shape().to_vec(), numbers))
}

/// In which order a node puts the axes.
fn axes_of(node: &NodeProto) -> Option<Vec<usize>> {
    attribute(node, "perm")?.ints.iter().map(|axis| usize::try_from(*axis).ok()).collect()
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

fn first(node: &NodeProto) -> Result<&str, String> {
    node.input.first().map(String::as_str).ok_or_else(|| format!("{} of nothing", node.op_type))
}

fn whole(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(0)
}

fn count(tensor: &TensorProto) -> Option<usize> {
    tensor.dims.iter().try_fold(1_usize, |count, dim| count.checked_mul(usize::try_from(*dim).ok()?))
}

/// The numbers of a constant, all finite.
fn floats(tensor: &TensorProto) -> Option<Vec<f32>> {
    let numbers: Vec<f32> = match tensor.data_type {
        ONNX_FLOAT if tensor.raw_data.is_empty() => tensor.float_data.clone(),
        ONNX_FLOAT => tensor.raw_data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        ONNX_FLOAT16 => halves(tensor)?.into_iter().map(|x| f16::from_bits(x).to_f32()).collect(),
        #[expect(clippy::cast_precision_loss, reason = "an exponent or a divisor, far below 2^24")]
        ONNX_INT64 => integers(tensor)?.into_iter().map(|number| number as f32).collect(),
        _ => return None,
    };
    (Some(numbers.len()) == count(tensor) && numbers.iter().all(|x| x.is_finite())).then_some(numbers)
}

/// The bits of 16-bit floats, all finite.
fn halves(tensor: &TensorProto) -> Option<Vec<u16>> {
    let numbers: Vec<u16> = tensor.raw_data.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
    (Some(numbers.len()) == count(tensor) && numbers.iter().all(|x| f16::from_bits(*x).is_finite())).then_some(numbers)
}

fn integers(tensor: &TensorProto) -> Option<Vec<i64>> {
    let numbers: Vec<i64> = match tensor.data_type {
        ONNX_INT64 if tensor.raw_data.is_empty() => tensor.int64_data.clone(),
        ONNX_INT64 => {
            let bytes = tensor.raw_data.chunks_exact(8);
            bytes.map(|bytes| i64::from_le_bytes(bytes.try_into().expect("chunks of 8"))).collect()
        }
        _ => return None,
    };
    (Some(numbers.len()) == count(tensor)).then_some(numbers)
}

/// Formula 7.1.26 of Abramowitz and Stegun, off by at most 1.5e-7.
fn erf(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let factors = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let sum = factors.into_iter().fold(0.0, |sum, factor| (sum + factor) * t);
    (1.0 - sum * (-x * x).exp()).copysign(x)
}
