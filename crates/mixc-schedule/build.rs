//! A new template file makes the crate build again.

fn main() {
    println!("cargo:rerun-if-changed=../../templates");
}
