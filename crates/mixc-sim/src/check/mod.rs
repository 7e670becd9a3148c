//! What went wrong: findings, who has seen what (clocks), and records of accesses to shared memory.

pub mod blocks;
pub mod clock;
pub mod finding;
pub mod shadow;
