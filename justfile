# For comfort: the README's two commands need none of this.

# Format, lints, tests: what CI runs.
check: 
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test

# Everything that can fail.
test:
    cargo test

# The whole path on a small story.
demo:
    cargo run --release -- demo

# Figures of this machine: `just bench agentmem`, `just bench embed`, …
bench name="agentmem" *args:
    cargo run --release -- bench {{name}} {{args}}

# What an add costs more through the component than natively.
boundary:
    cargo run --release --example boundary

# The component by itself, with the contract beside it.
component out="cairn.wasm":
    cargo run --release -- component --out {{out}}
    cargo run --release -- component --wit > {{without_extension(out)}}.wit
