//! A small encoder with random weights, in the forms in which exporters write the same thing.
#![expect(clippy::cast_precision_loss, reason = "small numbers")]

use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TypeProto, ValueInfoProto,
    type_proto,
};

use crate::embedder::packed::kernels::tests::numbers;

pub(super) const WIDTH: usize = 64;
const INNER: usize = 96;
const WORDS: usize = 40;
const PLACES: usize = 32;
const LAYERS: usize = 2;

/// What may differ.
#[expect(clippy::struct_excessive_bools, reason = "each differs by itself")]
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub(super) heads: usize,
    pub(super) norm_in_parts: bool,
    pub(super) tanh: bool,
    pub(super) has_types: bool,
    pub(super) turned_weights: bool,
    /// Not what an encoder does: no norm after the attention.
    pub(super) odd: bool,
}

pub(super) const PLAIN: Form =
    Form { heads: 4, norm_in_parts: false, tanh: false, has_types: false, turned_weights: false, odd: false };

pub(super) fn encoder(form: Form) -> ModelProto {
    let mut graph = Builder { form, graph: GraphProto::default() };
    let words = graph.constant(&[WORDS, WIDTH], 1.0);
    let mut x = graph.op("Gather", &[&words, "input_ids"], vec![]);
    let places = graph.constant(&[PLACES, WIDTH], 0.5);
    let (zero, one, two) = (graph.integers(&[0]), graph.integers(&[1]), graph.integers(&[2]));
    let shape = graph.op("Shape", &["input_ids"], vec![]);
    let length = graph.op("Slice", &[&shape, &one, &two, &zero], vec![]);
    let places = graph.op("Slice", &[&places, &zero, &length, &zero], vec![]);
    if form.has_types {
        let types = graph.constant(&[2, WIDTH], 0.5);
        let types = graph.op("Gather", &[&types, "token_type_ids"], vec![]);
        x = graph.op("Add", &[&x, &types], vec![]);
    }
    x = graph.op("Add", &[&x, &places], vec![]);
    x = graph.norm(&x);
    let axes = graph.integers(&[1, 2]);
    let mask = graph.op("Unsqueeze", &["attention_mask", &axes], vec![]);
    let mask = graph.op("Cast", &[&mask], vec![number("to", 1)]);
    let (whole, lowest) = (graph.float(1.0), graph.float(-1e9));
    let mask = graph.op("Sub", &[&whole, &mask], vec![]);
    let mask = graph.op("Mul", &[&mask, &lowest], vec![]);
    for _ in 0..LAYERS {
        x = graph.layer(&x, &mask);
    }
    let mut graph = graph.graph;
    let inputs: &[&str] = &["input_ids", "attention_mask", "token_type_ids"];
    graph.input = inputs.iter().take(if form.has_types { 3 } else { 2 }).map(|name| input(name)).collect();
    graph.output = vec![ValueInfoProto { name: x, ..ValueInfoProto::default() }];
    let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 17 }];
    ModelProto { graph: Some(graph), opset_import, ..ModelProto::default() }
}

struct Builder {
    form: Form,
    graph: GraphProto,
}

impl Builder {
    fn layer(&mut self, x: &str, mask: &str) -> String {
        let size = WIDTH / self.form.heads;
        let split = self.integers(&[0, 0, self.form.heads.try_into().unwrap(), size.try_into().unwrap()]);
        let mut part = |perm: &[i64]| {
            let projected = self.dense(x, WIDTH, WIDTH);
            let split = self.op("Reshape", &[&projected, &split], vec![]);
            self.op("Transpose", &[&split], vec![numbers_of("perm", perm)])
        };
        let (query, key, value) = (part(&[0, 2, 1, 3]), part(&[0, 2, 3, 1]), part(&[0, 2, 1, 3]));
        let scores = self.op("MatMul", &[&query, &key], vec![]);
        let scale = self.float((size as f32).sqrt());
        let scores = self.op("Div", &[&scores, &scale], vec![]);
        let scores = self.op("Add", &[&scores, mask], vec![]);
        let shares = self.op("Softmax", &[&scores], vec![number("axis", -1)]);
        let mixed = self.op("MatMul", &[&shares, &value], vec![]);
        let mixed = self.op("Transpose", &[&mixed], vec![numbers_of("perm", &[0, 2, 1, 3])]);
        let joined = self.integers(&[0, 0, WIDTH.try_into().unwrap()]);
        let mixed = self.op("Reshape", &[&mixed, &joined], vec![]);
        let output = self.dense(&mixed, WIDTH, WIDTH);
        let mut x = self.op("Add", &[&output, x], vec![]);
        if !self.form.odd {
            x = self.norm(&x);
        }
        let inner = self.dense(&x, WIDTH, INNER);
        let inner = if self.form.tanh { self.gelu_by_tanh(&inner) } else { self.gelu_by_erf(&inner) };
        let output = self.dense(&inner, INNER, WIDTH);
        let x = self.op("Add", &[&x, &output], vec![]);
        self.norm(&x)
    }

    fn dense(&mut self, x: &str, inputs: usize, outputs: usize) -> String {
        let scale = 2.0 / (inputs as f32).sqrt();
        let weights = if self.form.turned_weights {
            let weights = self.constant(&[outputs, inputs], scale);
            self.op("Transpose", &[&weights], vec![numbers_of("perm", &[1, 0])])
        } else {
            self.constant(&[inputs, outputs], scale)
        };
        let product = self.op("MatMul", &[x, &weights], vec![]);
        let bias = self.constant(&[outputs], 0.1);
        self.op("Add", &[&bias, &product], vec![])
    }

    fn norm(&mut self, x: &str) -> String {
        let (gain, bias) = (self.constant(&[WIDTH], 1.0), self.constant(&[WIDTH], 0.1));
        if !self.form.norm_in_parts {
            let epsilon = AttributeProto { name: "epsilon".to_owned(), r#type: 1, f: 1e-6, ..Default::default() };
            return self.op("LayerNormalization", &[x, &gain, &bias], vec![number("axis", -1), epsilon]);
        }
        let (two, epsilon) = (self.float(2.0), self.float(1e-6));
        let mean = self.op("ReduceMean", &[x], vec![numbers_of("axes", &[-1])]);
        let centred = self.op("Sub", &[x, &mean], vec![]);
        let squares = self.op("Pow", &[&centred, &two], vec![]);
        let variance = self.op("ReduceMean", &[&squares], vec![numbers_of("axes", &[-1])]);
        let sum = self.op("Add", &[&variance, &epsilon], vec![]);
        let deviation = self.op("Sqrt", &[&sum], vec![]);
        let scaled = self.op("Div", &[&centred, &deviation], vec![]);
        let scaled = self.op("Mul", &[&scaled, &gain], vec![]);
        self.op("Add", &[&scaled, &bias], vec![])
    }

    fn gelu_by_erf(&mut self, x: &str) -> String {
        let (root, one, half) = (self.float(2_f32.sqrt()), self.float(1.0), self.float(0.5));
        let scaled = self.op("Div", &[x, &root], vec![]);
        let error = self.op("Erf", &[&scaled], vec![]);
        let sum = self.op("Add", &[&error, &one], vec![]);
        let product = self.op("Mul", &[x, &sum], vec![]);
        self.op("Mul", &[&product, &half], vec![])
    }

    fn gelu_by_tanh(&mut self, x: &str) -> String {
        let (three, small, root) = (self.float(3.0), self.float(0.044_715), self.float(0.797_884_6));
        let (one, half) = (self.float(1.0), self.float(0.5));
        let cube = self.op("Pow", &[x, &three], vec![]);
        let cube = self.op("Mul", &[&small, &cube], vec![]);
        let sum = self.op("Add", &[x, &cube], vec![]);
        let sum = self.op("Mul", &[&root, &sum], vec![]);
        let tanh = self.op("Tanh", &[&sum], vec![]);
        let sum = self.op("Add", &[&one, &tanh], vec![]);
        let product = self.op("Mul", &[&half, x], vec![]);
        self.op("Mul", &[&product, &sum], vec![])
    }

    fn op(&mut self, op: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        let name = format!("n{}", self.graph.node.len());
        self.graph.node.push(NodeProto {
            op_type: op.to_owned(),
            name: name.clone(),
            input: inputs.iter().map(|input| (*input).to_owned()).collect(),
            output: vec![name.clone()],
            attribute,
            ..NodeProto::default()
        });
        name
    }

    /// Random numbers of up to this size.
    fn constant(&mut self, dims: &[usize], size: f32) -> String {
        let seed = self.graph.initializer.len() as u64 + 100;
        let numbers = numbers(seed, dims.iter().product()).into_iter().map(|x| x * size);
        self.tensor(dims, 1, numbers.flat_map(f32::to_le_bytes).collect())
    }

    fn float(&mut self, number: f32) -> String {
        self.tensor(&[], 1, number.to_le_bytes().to_vec())
    }

    fn integers(&mut self, numbers: &[i64]) -> String {
        self.tensor(&[numbers.len()], 7, numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
    }

    fn tensor(&mut self, dims: &[usize], data_type: i32, raw_data: Vec<u8>) -> String {
        let name = format!("c{}", self.graph.initializer.len());
        let dims = dims.iter().map(|dim| i64::try_from(*dim).unwrap()).collect();
        self.graph.initializer.push(TensorProto {
            name: name.clone(),
            dims,
            data_type,
            raw_data,
            ..Default::default()
        });
        name
    }
}

fn input(name: &str) -> ValueInfoProto {
    let tensor = type_proto::Tensor { elem_type: 7, shape: None };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: name.to_owned(), r#type: Some(kind), ..ValueInfoProto::default() }
}

fn number(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type: 2, i, ..AttributeProto::default() }
}

fn numbers_of(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type: 7, ints: ints.to_vec(), ..AttributeProto::default() }
}
