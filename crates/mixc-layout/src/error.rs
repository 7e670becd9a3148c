//! What can be asked of a layout that it does not have.

use thiserror::Error;

/// Why an operation on layouts has no result.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LayoutError {
    #[error("the layout reaches {rank} of {bits} output bits, so some elements are nowhere")]
    NotSurjective { rank: u32, bits: u32 },
    #[error("the layout has {bits} input bits of rank {rank}, so some elements are held twice")]
    NotInjective { rank: u32, bits: u32 },
    #[error("`{name}` is no input of the outer layout")]
    MissingInput { name: String },
    #[error("`{name}` has {found} bits, the outer layout takes {limit}")]
    TooWide {
        name: String,
        found: u32,
        limit: u32,
    },
    #[error("the layouts are over different tiles: {left} and {right}")]
    DifferentTiles { left: String, right: String },
    #[error("the element that bit {bit} of `{input}` wants is held nowhere")]
    NotHeld { input: String, bit: u32 },
    #[error("an element must go to another warp, which takes shared memory")]
    OtherWarp,
    #[error("{what} is {found}; {expected} is needed")]
    Size {
        what: String,
        found: u32,
        expected: String,
    },
}

impl LayoutError {
    pub(crate) fn size(what: impl Into<String>, found: u32, expected: impl Into<String>) -> Self {
        LayoutError::Size {
            what: what.into(),
            found,
            expected: expected.into(),
        }
    }
}
