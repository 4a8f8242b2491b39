//! Small encoders with random weights, in the forms in which exporters write the same thing, and whole model folders of
//! them. Used by the tests of the embedder and by those of the binary.
#![expect(clippy::cast_precision_loss, reason = "small numbers")]

use std::fmt::Write;
use std::fs;
use std::path::Path;

use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TypeProto, ValueInfoProto,
    type_proto,
};

pub(crate) const WIDTH: usize = 64;
pub(crate) const WORDS: usize = 64;
const INNER: usize = 96;
const PLACES: usize = 32;
const LAYERS: usize = 2;
/// Of XLM-R: its positions begin behind it.
const PADDING: i64 = 1;

/// What may differ.
#[expect(clippy::struct_excessive_bools, reason = "each differs by itself")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    pub(crate) heads: usize,
    pub(crate) norm_in_parts: bool,
    pub(crate) tanh: bool,
    pub(crate) has_types: bool,
    pub(crate) turned_weights: bool,
    /// Positions are counted over what is no padding, as XLM-R does, and there is one type of tokens alone.
    pub(crate) counted: bool,
    /// So that models differ.
    pub(crate) seed: u64,
    /// Not what an encoder does: no norm after the attention.
    pub(crate) odd: bool,
}

pub(crate) const PLAIN: Form = Form {
    heads: 4,
    norm_in_parts: false,
    tanh: false,
    has_types: false,
    turned_weights: false,
    counted: false,
    seed: 100,
    odd: false,
};

/// A model's architecture: how it splits and pools beside how it computes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// As all-MiniLM: the mean, pieces of words.
    Mean,
    /// As bge: the first token, with an instruction before queries.
    Cls,
    /// As multilingual-e5: XLM-R with scored pieces, the mean, and a prefix before every text.
    Multilingual,
}

impl Kind {
    pub(crate) fn form(self) -> Form {
        match self {
            Self::Mean => PLAIN,
            Self::Cls => Form { has_types: true, norm_in_parts: true, seed: 200, ..PLAIN },
            Self::Multilingual => Form { counted: true, norm_in_parts: true, seed: 300, ..PLAIN },
        }
    }
}

/// Writes a model folder: weights, tokenizer and a manifest without checksums.
pub(crate) fn write(folder: &Path, name: &str, kind: Kind) {
    fs::create_dir_all(folder).expect("a folder of the test");
    let (pooling, prefixes, tokenizer) = match kind {
        Kind::Mean => ("mean", r#""document":"","query":"""#, pieces()),
        Kind::Cls => ("cls", r#""document":"","query":"find: ""#, pieces()),
        Kind::Multilingual => ("mean", r#""document":"passage: ","query":"query: ""#, scored_pieces()),
    };
    let manifest = format!(
        r#"{{"name":"{name}","source":{{"model":"random"}},"licence":"none","dimensions":{WIDTH},"max_tokens":24,
        "pooling":"{pooling}","prefixes":{{{prefixes}}},"languages":["en"],
        "files":[{{"name":"model.onnx"}},{{"name":"tokenizer.json"}}]}}"#
    );
    fs::write(folder.join("manifest.json"), manifest).expect("a file of the test");
    fs::write(folder.join("model.onnx"), encoder(kind.form()).encode_to_vec()).expect("a file of the test");
    fs::write(folder.join("tokenizer.json"), tokenizer).expect("a file of the test");
}

/// Letters at the beginning of a word and within it.
fn pieces() -> String {
    let mut vocabulary = r#""[PAD]":0,"[UNK]":1,"[CLS]":2,"[SEP]":3"#.to_owned();
    for (id, letter) in (4..).step_by(2).zip('a'..='z') {
        write!(vocabulary, r###","{letter}":{id},"##{letter}":{}"###, id + 1).expect("memory takes everything");
    }
    let model = format!(
        r###"{{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":100,"vocab":{{{vocabulary}}}}}"###
    );
    tokenizer(
        r#"{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true}"#,
        r#"{"type":"BertPreTokenizer"}"#,
        ("[CLS]", 2),
        ("[SEP]", 3),
        &model,
    )
}

/// Letters with scores, and the mark of a word's beginning.
fn scored_pieces() -> String {
    let mut vocabulary = r#"["<s>",0.0],["<pad>",0.0],["</s>",0.0],["<unk>",0.0],["▁",-2.5]"#.to_owned();
    for (score, letter) in (3..).zip('a'..='z') {
        write!(vocabulary, r#",["{letter}",-{score}.25],["▁{letter}",-{score}.75]"#).expect("memory takes everything");
    }
    let model = format!(r#"{{"type":"Unigram","unk_id":3,"byte_fallback":false,"vocab":[{vocabulary}]}}"#);
    let words = r#"{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true}"#;
    tokenizer(r#"{"type":"NFKC"}"#, words, ("<s>", 0), ("</s>", 2), &model)
}

fn tokenizer(normalizer: &str, words: &str, begin: (&str, u32), end: (&str, u32), model: &str) -> String {
    let ((begin, begin_id), (end, end_id)) = (begin, end);
    let special = |token: &str, id: u32| format!(r#""{token}":{{"id":"{token}","ids":[{id}],"tokens":["{token}"]}}"#);
    let mark = |token: &str| format!(r#"{{"SpecialToken":{{"id":"{token}","type_id":0}}}}"#);
    let [text, other] = ["A", "B"].map(|id| format!(r#"{{"Sequence":{{"id":"{id}","type_id":0}}}}"#));
    let marks = format!(
        r#"{{"type":"TemplateProcessing","single":[{},{text},{}],"pair":[{text},{other}],"special_tokens":{{{},{}}}}}"#,
        mark(begin),
        mark(end),
        special(begin, begin_id),
        special(end, end_id)
    );
    format!(
        r#"{{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":{normalizer},
        "pre_tokenizer":{words},"post_processor":{marks},"decoder":null,"model":{model}}}"#
    )
}

pub(crate) fn encoder(form: Form) -> ModelProto {
    let mut graph = Builder { form, graph: GraphProto::default() };
    let words = graph.constant(&[WORDS, WIDTH], 1.0);
    let mut x = graph.op("Gather", &[&words, "input_ids"], vec![]);
    let shape = graph.op("Shape", &["input_ids"], vec![]);
    let places = if form.counted { graph.counted_places() } else { graph.places_from_the_first(&shape) };
    if form.counted {
        // One type, looked up for every token.
        let types = graph.constant(&[1, WIDTH], 0.5);
        let none = graph.op("ConstantOfShape", &[&shape], vec![zero()]);
        let types = graph.op("Gather", &[&types, &none], vec![]);
        x = graph.op("Add", &[&x, &types], vec![]);
    }
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
    fn places_from_the_first(&mut self, shape: &str) -> String {
        let places = self.constant(&[PLACES, WIDTH], 0.5);
        let (zero, one, two) = (self.integers(&[0]), self.integers(&[1]), self.integers(&[2]));
        let length = self.op("Slice", &[shape, &one, &two, &zero], vec![]);
        self.op("Slice", &[&places, &zero, &length, &zero], vec![])
    }

    /// The n-th token that is no padding has the place n + padding; padding has its own.
    fn counted_places(&mut self) -> String {
        let places = self.constant(&[PLACES + 2, WIDTH], 0.5);
        let padding = self.integers(&[PADDING]);
        let axis = self.tensor(&[], 7, 1_i64.to_le_bytes().to_vec());
        let is_padding = self.op("Equal", &["input_ids", &padding], vec![]);
        let counts = self.op("Not", &[&is_padding], vec![]);
        let counts = self.op("Cast", &[&counts], vec![number("to", 6)]);
        let sum = self.op("CumSum", &[&counts, &axis], vec![]);
        let sum = self.op("Mul", &[&sum, &counts], vec![]);
        let sum = self.op("Cast", &[&sum], vec![number("to", 7)]);
        let sum = self.op("Add", &[&sum, &padding], vec![]);
        self.op("Gather", &[&places, &sum], vec![])
    }

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
        let seed = self.graph.initializer.len() as u64 + self.form.seed;
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

/// A 0 of 64 bits.
fn zero() -> AttributeProto {
    let zero = TensorProto { dims: vec![1], data_type: 7, raw_data: vec![0; 8], ..TensorProto::default() };
    AttributeProto { name: "value".to_owned(), r#type: 4, t: Some(zero), ..AttributeProto::default() }
}

/// From −1 to 1, by xorshift.
fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / f32::from(1_u16 << 11) / 4096.0 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}
