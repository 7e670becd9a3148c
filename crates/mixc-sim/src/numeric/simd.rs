//! Loops over lanes compiled for two kinds of processor: any x86-64, and those with AVX2 and FMA.
//!
//! Both versions of a function give the same bits, so what a kernel computes does not depend on the
//! machine that simulates it.

/// Whether this processor runs the wide versions.
#[inline]
pub fn wide() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        has!("avx2") && has!("fma") && has!("bmi2") && has!("lzcnt") && has!("popcnt")
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// `versions! { fn f, f_wide(x: &X) -> R { body } }` defines two functions with one body. `f_wide` may run
/// only where [`wide`] is true.
macro_rules! versions {
    ($(#[$doc:meta])* fn $f:ident, $wide:ident($($arg:ident: $t:ty),* $(,)?) $(-> $r:ty)? $body:block) => {
        $(#[$doc])*
        fn $f($($arg: $t),*) $(-> $r)? $body

        $(#[$doc])*
        #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt"))]
        fn $wide($($arg: $t),*) $(-> $r)? $body
    };
}
pub(crate) use versions;
