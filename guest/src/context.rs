//! What a prompt should carry: core memories, what the query finds and the turns around it, within a budget of tokens and in
//! an order that does not change when later events are added.
use crate::Result;
use crate::ask::{Asked, has_model};
use crate::calendar::Date;
use crate::capability::{Host, Snapshot};
use crate::check::{self, invalid, too_much};
use crate::embedding::Purpose;
use crate::filter::Filter;
use crate::id::Id;
use crate::list::walk;
use crate::memory::{Citation, ContextRequest, Hit, Origin, Pack, Query};
use crate::record::{MEMORY, PLACE, Record, behind, core_place};
use crate::scope::admits;
use crate::search::found;
use crate::storage::Range;
use crate::types::{Memory, MemoryId, Scope};
use crate::view::Eyes;

/// Most turns before and after a hit.
const AROUND: u32 = 10;

/// Composes what a prompt should carry; see `memory.context` of the contract.
pub fn context(host: &impl Host, requests: &[ContextRequest]) -> Result<Vec<Result<Pack>>> {
    if requests.len() > check::QUERIES {
        let message = format!("{} requests, at most {} are taken in one call", requests.len(), check::QUERIES);
        return Err(too_much("requests", message));
    }
    let model = has_model(host)?;
    (0..).zip(requests).map(|(n, request): (usize, _)| one(host, model, request, &format!("requests[{n}]"))).collect()
}

/// The outer error fails the call, the inner one this request.
fn one(host: &impl Host, model: bool, request: &ContextRequest, place: &str) -> Result<Result<Pack>> {
    if request.around > AROUND {
        let message = format!("{} turns around a hit, at most {AROUND} are taken", request.around);
        return Ok(Err(too_much(format!("{place}.around"), message)));
    }
    if request.max_tokens == 0 {
        return Ok(Err(invalid(format!("{place}.max-tokens"), "at least 1 token is needed")));
    }
    // Everything but an empty text is refused as a search would refuse it.
    let recent = request.query.text.is_empty();
    let text = if recent { "?".to_owned() } else { request.query.text.clone() };
    let query = Query { text, ..request.query.clone() };
    let asked = match Asked::new(host, model, &query, &format!("{place}.query")) {
        Ok(asked) => asked,
        Err(error) => return Ok(Err(error)),
    };
    let (eyes, filter) = (asked.eyes, asked.filter.clone());
    let snapshot = host.snapshot()?;
    let core = core(&snapshot, &query, eyes)?;
    let pieces: Vec<Piece> = if recent {
        newest(&snapshot, &asked)?.into_iter().map(|memory| Piece::new(memory, Origin::Hit)).collect()
    } else {
        found(host, model, vec![asked])?.remove(0).hits.into_iter().map(Piece::of).collect()
    };

    let mut packing = Packing { host, model, budget: request.max_tokens, used: 0, pieces: vec![] };
    for memory in core {
        if !packing.add(Piece::new(memory, Origin::Core))? {
            let message = format!("the core memories alone have more than {} tokens", request.max_tokens);
            return Ok(Err(too_much(format!("{place}.max-tokens"), message)));
        }
    }
    let mut omitted = vec![];
    let mut kept: Vec<Memory> = vec![];
    for piece in pieces {
        let memory = piece.memory.clone();
        if packing.holds(&memory.id) || packing.add(piece)? {
            kept.push(memory);
        } else {
            omitted.push(memory.id);
        }
    }
    // What is around the better hits first, nearest first.
    let mut runs: Vec<(Scope, Vec<Memory>)> = vec![];
    for memory in kept.iter().filter(|memory| request.around > 0 && memory.content.scope.run.is_some()) {
        let scope = &memory.content.scope;
        let known = runs.iter().position(|(of, _)| of == scope);
        if known.is_none() {
            runs.push((scope.clone(), turns(&snapshot, scope, filter.as_ref(), eyes)?));
        }
        let place = known.unwrap_or(runs.len() - 1);
        for neighbour in around(&runs[place].1, memory, request.around as usize) {
            if !packing.holds(&neighbour.id) {
                packing.add(Piece::new(neighbour.clone(), Origin::Neighbour))?;
            }
        }
    }
    packing.finish(omitted).map(Ok)
}

/// The core memories of a scope, by creation.
fn core(snapshot: &impl Snapshot, query: &Query, eyes: Eyes) -> Result<Vec<Memory>> {
    let mut out = vec![];
    let mut start = core_place(None);
    loop {
        let range = Range { start, end: behind(&core_place(None)), reverse: false, limit: 1_000, keys_only: true };
        let rows = snapshot.scan(PLACE, &range)?;
        let ids = rows.pairs.iter().filter_map(|pair| <[u8; 16]>::try_from(pair.key.get(1..)?).ok().map(Id));
        out.extend(live(snapshot, &ids.collect::<Vec<_>>(), eyes)?);
        match rows.pairs.last() {
            Some(last) if rows.more => start = [&last.key[..], &[0]].concat(),
            _ => break,
        }
    }
    out.retain(|memory| admits(&query.scope, &memory.content.scope));
    Ok(out)
}

fn live(snapshot: &impl Snapshot, ids: &[Id], eyes: Eyes) -> Result<Vec<Memory>> {
    if ids.is_empty() {
        return Ok(vec![]);
    }
    let values = snapshot.get(MEMORY, &ids.iter().map(|id| id.0.to_vec()).collect::<Vec<_>>())?;
    let mut out = vec![];
    for (id, value) in ids.iter().zip(values) {
        if let Some(value) = value
            && let Some((_, memory)) = eyes.see(Record::decode(*id, &value)?, snapshot)?
        {
            out.push(memory);
        }
    }
    Ok(out)
}

/// The newest memories of a scope, as many as the query's limit.
fn newest(snapshot: &impl Snapshot, asked: &Asked<'_>) -> Result<Vec<Memory>> {
    let mut out = vec![];
    walk(snapshot, &asked.query.scope, true, None, |record| {
        if asked.filter.as_ref().is_none_or(|filter| filter.admits(&record))
            && let Some((_, memory)) = asked.eyes.see(record, snapshot)?
        {
            out.push(memory);
        }
        Ok(out.len() < asked.query.limit as usize)
    })?;
    Ok(out)
}

/// The turns of a run in order, as far as the query may see them.
fn turns(snapshot: &impl Snapshot, run: &Scope, filter: Option<&Filter>, eyes: Eyes) -> Result<Vec<Memory>> {
    let mut turns = vec![];
    walk(snapshot, run, false, None, |record| {
        if record.content.scope == *run
            && filter.is_none_or(|filter| filter.admits(&record))
            && let Some((_, memory)) = eyes.see(record, snapshot)?
        {
            turns.push(memory);
        }
        Ok(true)
    })?;
    turns.sort_by_cached_key(when);
    Ok(turns)
}

/// The turns before and after a memory in its run, the nearest first.
fn around<'r>(run: &'r [Memory], of: &Memory, turns: usize) -> Vec<&'r Memory> {
    let Some(place) = run.iter().position(|memory| memory.id == of.id) else { return vec![] };
    let beside = |step: usize| [place.checked_sub(step).and_then(|place| run.get(place)), run.get(place + step)];
    (1..=turns).flat_map(beside).flatten().collect()
}

/// Where a memory stands in time, and among those of one moment.
fn when(memory: &Memory) -> (i64, MemoryId) {
    (memory.content.at.unwrap_or(memory.created_at), memory.id.clone())
}

/// One memory as a prompt shows it.
struct Piece {
    memory: Memory,
    origin: Origin,
    score: Option<f32>,
    /// The text, or its best passage.
    said: String,
}

impl Piece {
    fn new(memory: Memory, origin: Origin) -> Piece {
        Piece { said: memory.content.text.clone(), memory, origin, score: None }
    }

    fn of(hit: Hit) -> Piece {
        let said = hit.passage.unwrap_or_else(|| hit.memory.content.text.clone());
        Piece { memory: hit.memory, origin: Origin::Hit, score: Some(hit.score), said }
    }

    /// `[1] 8 May 2023, Caroline: …`
    fn paragraph(&self, number: usize) -> String {
        let content = &self.memory.content;
        let about: Vec<String> =
            content.at.map(|at| Date::of(at).spoken()).into_iter().chain(content.actor.clone()).collect();
        let colon = if about.is_empty() { "" } else { ": " };
        format!("[{number}] {}{colon}{}", about.join(", "), self.said.trim())
    }
}

/// What has found room so far.
struct Packing<'h, H: Host> {
    host: &'h H,
    model: bool,
    budget: u32,
    used: u32,
    pieces: Vec<Piece>,
}

impl<H: Host> Packing<'_, H> {
    fn holds(&self, id: &str) -> bool {
        self.pieces.iter().any(|piece| piece.memory.id == id)
    }

    /// Takes a memory in if it fits; with a number of so many digits as the last one may have.
    fn add(&mut self, piece: Piece) -> Result<bool> {
        let tokens = tokens(self.host, self.model, &format!("{}\n\n", piece.paragraph(999)))?;
        let fits = self.used + tokens <= self.budget;
        if fits {
            self.used += tokens;
            self.pieces.push(piece);
        }
        Ok(fits)
    }

    fn finish(mut self, omitted: Vec<MemoryId>) -> Result<Pack> {
        self.pieces.sort_by_key(|piece| (piece.origin != Origin::Core, when(&piece.memory)));
        let paragraphs: Vec<String> = (1..).zip(&self.pieces).map(|(n, piece)| piece.paragraph(n)).collect();
        let text = paragraphs.join("\n\n");
        let tokens = if text.is_empty() { 0 } else { tokens(self.host, self.model, &text)? };
        let citation = |(number, piece): (u32, Piece)| Citation {
            number,
            id: piece.memory.id,
            version: piece.memory.version,
            origin: piece.origin,
            score: piece.score,
        };
        Ok(Pack { text, citations: (1..).zip(self.pieces).map(citation).collect(), tokens, omitted })
    }
}

/// Tokens of a text as the model counts them, without its own two marks; a quarter of the bytes where there is no model.
fn tokens(host: &impl Host, model: bool, text: &str) -> Result<u32> {
    if !model {
        return Ok(u32::try_from(text.len().div_ceil(4)).unwrap_or(u32::MAX));
    }
    let counts = host.measure(&[text.to_owned()], Purpose::Document)?;
    Ok(counts.first().map_or(0, |count| count.tokens.saturating_sub(2)))
}
