//! The graph of a model as its file has it, and its runs. No queue, no text.
//!
//! All sequences of a run have one length. An odd one is padded by one masked token: tract's softmax sums the scores of
//! a row in an order that follows its place in memory, and with even rows that place is alike for every sequence of a
//! run, so that no vector depends, not even in its last bit, on the run it was part of.
use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};
use tract_onnx::prelude::*;

use super::{EmbedError, Pooling, unit};

/// Numbers of ONNX's types of elements.
pub(super) const ONNX_FLOAT: i32 = 1;
pub(super) const ONNX_INT64: i32 = 7;
pub(super) const ONNX_FLOAT16: i32 = 10;
/// Number of ONNX's type of attributes for a tensor.
const ONNX_TENSOR: i32 = 4;

pub(super) const IDS: &str = "input_ids";
pub(super) const MASK: &str = "attention_mask";
pub(super) const TYPES: &str = "token_type_ids";

/// Parses an ONNX file. The error is the reason alone.
pub(super) fn parse(onnx: &[u8]) -> Result<ModelProto, String> {
    tract_onnx::onnx().proto_model_for_read(&mut &*onnx).map_err(|cause| format!("{cause:#}"))
}

/// A model ready to run, shared by all threads.
pub(super) struct Graph {
    plan: Arc<TypedSimplePlan>,
    pooling: Pooling,
    dimensions: usize,
}

impl Graph {
    /// Takes an ONNX file with the inputs `input_ids`, `attention_mask` and perhaps `token_type_ids`, whose first output has
    /// a vector a token. The error is the reason alone.
    pub(super) fn new(file: ModelProto, pooling: Pooling, dimensions: usize) -> Result<Self, String> {
        Self::build(file, pooling, dimensions).map_err(|cause| format!("{cause:#}"))
    }

    fn build(mut file: ModelProto, pooling: Pooling, dimensions: usize) -> TractResult<Self> {
        let framework = tract_onnx::onnx();
        simplify(&mut file)?;
        let mut model = framework.model_for_proto_model(&file)?;
        drop(file);
        let shape = [model.sym("B").to_dim(), model.sym("S").to_dim()];
        let inputs = model.input_outlets()?.to_vec();
        let names: Vec<&str> = inputs.iter().map(|input| model.node(input.node).name.as_str()).collect();
        if names != [IDS, MASK] {
            return Err(TractError::msg(format!("the inputs {names:?} are not those of a text encoder")));
        }
        model.set_input_fact(0, i64::fact(shape.clone()).into())?;
        model.set_input_fact(1, i64::fact(shape).into())?;
        let output = model.output_outlets()?[0];
        model.select_output_outlets(&[output])?;
        let plan = model.into_optimized()?.into_runnable()?;
        let output = plan.model().output_fact(0)?;
        if output.rank() != 3 || output.shape[2] != dimensions.to_dim() {
            return Err(TractError::msg(format!("the output {output:?} has not {dimensions} numbers a token")));
        }
        Ok(Self { plan, pooling, dimensions })
    }

    /// One run; the sequences have one length, which is not 0. Panics where an id is none of the model's.
    pub(super) fn run(&self, sequences: &[&[u32]]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let refused = |cause: TractError| EmbedError::Run { reason: format!("{cause:#}") };
        let length = sequences.first().map_or(0, |ids| ids.len());
        let padded = length.next_multiple_of(2);
        let shape = [sequences.len(), padded];
        let (mut padded_ids, mut mask) = (Vec::new(), Vec::new());
        for ids in sequences {
            padded_ids.extend(ids.iter().map(|id| i64::from(*id)));
            padded_ids.resize(padded_ids.len() + padded - length, 0);
            mask.resize(mask.len() + length, 1);
            mask.resize(mask.len() + padded - length, 0);
        }
        let ids = Tensor::from_shape::<i64>(&shape, &padded_ids).map_err(refused)?;
        let mask = Tensor::from_shape::<i64>(&shape, &mask).map_err(refused)?;
        let outputs = self.plan.run(tvec![ids.into(), mask.into()]).map_err(refused)?;
        let states = outputs[0].try_as_plain_ram().and_then(|states| states.as_slice::<f32>()).map_err(refused)?;
        if states.len() != sequences.len() * padded * self.dimensions {
            return Err(EmbedError::Run { reason: format!("its output has the shape {:?}", outputs[0].shape()) });
        }
        let vectors = states.chunks_exact(padded * self.dimensions).map(|states| {
            let pooled = pool(&states[..length * self.dimensions], self.dimensions, self.pooling);
            unit(pooled).ok_or_else(|| EmbedError::Run { reason: "the vector has no direction".to_owned() })
        });
        vectors.collect()
    }
}

/// One vector of the tokens' vectors, of any length: a mean would only be scaled again.
fn pool(states: &[f32], dimensions: usize, pooling: Pooling) -> Vec<f32> {
    match pooling {
        Pooling::Cls => states[..dimensions].to_vec(),
        Pooling::Mean => {
            let mut sum = vec![0.0; dimensions];
            for token in states.chunks_exact(dimensions) {
                for (sum, x) in sum.iter_mut().zip(token) {
                    *sum += x;
                }
            }
            sum
        }
    }
}

/// Takes out of the file what need not be computed in every run, or is slow to fold later.
fn simplify(file: &mut ModelProto) -> TractResult<()> {
    let graph = file.graph.as_mut().ok_or_else(|| TractError::msg("the file has no graph"))?;
    widen(graph)?;
    settle(graph, TYPES, 0);
    graph.input.sort_by_key(|input| (input.name != IDS, input.name != MASK));
    Ok(())
}

/// Turns 16-bit weights that are cast to 32 bits into 32-bit weights.
fn widen(graph: &mut GraphProto) -> TractResult<()> {
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for name in graph.node.iter().flat_map(|node| &node.input) {
        *uses.entry(name).or_default() += 1;
    }
    let is_narrow = |weight: &&TensorProto| weight.data_type == ONNX_FLOAT16 && uses.get(&*weight.name) == Some(&1);
    let narrow: HashSet<&str> = graph.initializer.iter().filter(is_narrow).map(|weight| &*weight.name).collect();
    let is_widened = |node: &NodeProto| {
        node.op_type == "Cast"
            && narrow.contains(&*node.input[0])
            && node.attribute.iter().any(|attribute| attribute.name == "to" && attribute.i == i64::from(ONNX_FLOAT))
    };
    let casts = graph.node.iter().filter(|node| is_widened(node));
    let names: HashMap<String, String> = casts.map(|node| (node.input[0].clone(), node.output[0].clone())).collect();
    graph.node.retain(|node| node.op_type != "Cast" || !names.contains_key(&node.input[0]));
    for weight in &mut graph.initializer {
        let Some(name) = names.get(&weight.name) else { continue };
        let count = weight.dims.iter().product::<i64>();
        if !weight.raw_data.is_empty() {
            let halves = weight.raw_data.chunks_exact(2).map(|bytes| f16::from_le_bytes([bytes[0], bytes[1]]));
            weight.raw_data = halves.flat_map(|half| half.to_f32().to_le_bytes()).collect();
        }
        if usize::try_from(count).ok().and_then(|count| count.checked_mul(4)) != Some(weight.raw_data.len()) {
            return Err(TractError::msg(format!("the weight {} has not its {count} numbers", weight.name)));
        }
        weight.data_type = ONNX_FLOAT;
        weight.name.clone_from(name);
    }
    Ok(())
}

/// Replaces an input by this number everywhere, in the shape of the ids.
fn settle(graph: &mut GraphProto, name: &str, number: i64) {
    let before = graph.input.len();
    graph.input.retain(|input| input.name != name);
    if graph.input.len() == before {
        return;
    }
    let shape = format!("{name}.shape");
    let value = TensorProto {
        dims: vec![1],
        data_type: ONNX_INT64,
        raw_data: number.to_le_bytes().to_vec(),
        ..TensorProto::default()
    };
    let value =
        AttributeProto { name: "value".to_owned(), r#type: ONNX_TENSOR, t: Some(value), ..AttributeProto::default() };
    let nodes = [node("Shape", IDS, &shape, vec![]), node("ConstantOfShape", &shape, name, vec![value])];
    graph.node.splice(..0, nodes);
}

fn node(op: &str, input: &str, output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: op.to_owned(),
        name: output.to_owned(),
        input: vec![input.to_owned()],
        output: vec![output.to_owned()],
        attribute,
        ..NodeProto::default()
    }
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::{OperatorSetIdProto, TypeProto, ValueInfoProto, type_proto};

    use super::*;

    fn value(name: &str) -> ValueInfoProto {
        let tensor = type_proto::Tensor { elem_type: ONNX_INT64, shape: None };
        let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
        ValueInfoProto { name: name.to_owned(), r#type: Some(kind), ..ValueInfoProto::default() }
    }

    /// Two numbers a row, of 16 bits.
    fn table(name: &str, rows: &[[f32; 2]]) -> TensorProto {
        let bytes = rows.as_flattened().iter().flat_map(|x| f16::from_f32(*x).to_le_bytes());
        TensorProto {
            name: name.to_owned(),
            dims: vec![i64::try_from(rows.len()).unwrap(), 2],
            data_type: ONNX_FLOAT16,
            raw_data: bytes.collect(),
            ..TensorProto::default()
        }
    }

    fn join(op: &str, left: &str, right: &str, output: &str) -> NodeProto {
        NodeProto { input: vec![left.to_owned(), right.to_owned()], ..node(op, "", output, vec![]) }
    }

    /// Looks tokens up, adds the row of their type, and ignores the mask.
    fn lookup(inputs: &[&str]) -> ModelProto {
        let to =
            AttributeProto { name: "to".to_owned(), r#type: 2, i: i64::from(ONNX_FLOAT), ..AttributeProto::default() };
        let nodes = vec![
            node("Cast", "tokens", "tokens.f32", vec![to.clone()]),
            node("Cast", "types", "types.f32", vec![to]),
            join("Gather", "tokens.f32", IDS, "token"),
            join("Gather", "types.f32", "token_type_ids", "type"),
            join("Add", "token", "type", "states"),
        ];
        let graph = GraphProto {
            node: nodes,
            initializer: vec![
                table("tokens", &[[9.0, 9.0], [3.0, 3.0], [0.0, 3.0], [-1.0, -1.0]]),
                table("types", &[[0.0, 1.0], [7.0, 7.0]]),
            ],
            input: inputs.iter().map(|name| value(name)).collect(),
            output: vec![ValueInfoProto { r#type: None, ..value("states") }],
            ..GraphProto::default()
        };
        let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 17 }];
        ModelProto { graph: Some(graph), opset_import, ..ModelProto::default() }
    }

    #[track_caller]
    fn check(pooling: Pooling, sequences: &[&[u32]], expected: &[[f32; 2]]) {
        let file = lookup(&["token_type_ids", MASK, IDS]);
        let vectors = Graph::build(file, pooling, 2).unwrap().run(sequences).unwrap();
        assert_eq!(vectors, expected);
    }

    #[test]
    fn the_mean_counts_every_token_and_no_padding() {
        check(Pooling::Mean, &[&[1], &[2]], &[[0.6, 0.8], [0.0, 1.0]]);
        check(Pooling::Mean, &[&[1, 3, 3, 3, 3, 3, 3]], &[[-0.6, 0.8]]);
    }

    #[test]
    fn the_first_token_can_stand_for_all() {
        check(Pooling::Cls, &[&[1, 2], &[2, 1]], &[[0.6, 0.8], [0.0, 1.0]]);
    }

    #[test]
    fn what_has_no_direction_is_an_error() {
        let mut file = lookup(&["token_type_ids", MASK, IDS]);
        file.graph.as_mut().unwrap().initializer[1] = table("types", &[[1.0, 1.0]]);
        let graph = Graph::build(file, Pooling::Mean, 2).unwrap();
        let error = EmbedError::Run { reason: "the vector has no direction".to_owned() };
        assert_eq!(graph.run(&[&[3]]), Err(error));
    }

    #[test]
    fn other_inputs_are_refused() {
        let error = Graph::build(lookup(&["token_type_ids", IDS]), Pooling::Mean, 2).err().unwrap();
        assert_eq!(error.to_string(), r#"the inputs ["input_ids"] are not those of a text encoder"#);
    }
}
