//! Builds the guest for wasm32-unknown-unknown and makes a component of it, which the host embeds.
//!
//! The target is brought with rustup where it is missing. `CAIRN_COMPONENT` names a component that was built before
//! instead; then nothing is built here.
use std::path::{Path, PathBuf};
use std::process::Command;
use wit_component::ComponentEncoder;

const TARGET: &str = "wasm32-unknown-unknown";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CAIRN_COMPONENT");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("set by cargo"));
    let component = out.join("cairn.wasm");
    if let Some(given) = std::env::var_os("CAIRN_COMPONENT") {
        println!("cargo::rerun-if-changed={}", Path::new(&given).display());
        std::fs::copy(&given, &component).unwrap_or_else(|e| fail(&format!("cannot read CAIRN_COMPONENT: {e}")));
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("host/ lies in the workspace");
    for place in ["guest/src", "guest/build.rs", "guest/Cargo.toml", "wit", "Cargo.lock", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", root.join(place).display());
    }
    bring_target();
    // A target directory of its own: the outer one is locked while this runs.
    let target = out.join("guest-target");
    let mut cargo = Command::new(std::env::var_os("CARGO").expect("set by cargo"));
    cargo.current_dir(root);
    cargo.args(["build", "--release", "--package", "guest", "--lib", "--locked", "--target", TARGET]);
    cargo.arg("--target-dir").arg(&target);
    for flags in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_TARGET_DIR",
        "CARGO_BUILD_TARGET",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_WRAPPER",
    ] {
        cargo.env_remove(flags);
    }
    match cargo.status() {
        Ok(status) if status.success() => {}
        Ok(status) => fail(&format!("building the guest ended with {status}")),
        Err(error) => fail(&format!("cannot start cargo for the guest: {error}")),
    }
    let module = target.join(TARGET).join("release/guest.wasm");
    let encoded = std::fs::read(&module)
        .map_err(|e| e.to_string())
        .and_then(|bytes| encode(&bytes).map_err(|e| format!("{e:#}")))
        .unwrap_or_else(|e| fail(&format!("cannot make a component of {}: {e}", module.display())));
    std::fs::write(&component, encoded).unwrap_or_else(|e| fail(&format!("cannot write the component: {e}")));
}

fn encode(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    ComponentEncoder::default().validate(true).module(module)?.encode()
}

/// Makes sure that the compiler at hand can build for the target.
fn bring_target() {
    let rustc = std::env::var_os("RUSTC").expect("set by cargo");
    let printed = Command::new(&rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    let is_there = printed.is_ok_and(|o| Path::new(String::from_utf8_lossy(&o.stdout).trim()).is_dir());
    if is_there {
        return;
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", TARGET]);
    if let Some(toolchain) = std::env::var_os("RUSTUP_TOOLCHAIN") {
        rustup.arg("--toolchain").arg(toolchain);
    }
    if !rustup.status().is_ok_and(|status| status.success()) {
        fail(&format!(
            "this compiler has no {TARGET}, and rustup could not bring it; \
             install the target, or set CAIRN_COMPONENT to a component that was built before"
        ));
    }
}

fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    std::process::exit(1);
}
