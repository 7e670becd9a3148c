//! PTX of one block that multiplies two 64 x 64 bf16 matrices with `cp.async`, `ldmatrix` and `mma.sync`.
//!
//! Shared memory holds rows of 128 bytes whose 16-byte pieces are exchanged by `piece ^ (row % 8)`. Four
//! warps compute 32 x 32 each.

use std::fmt::Write;

/// `p0` = A[64, 64], `p1` = B[64, 64] (row-major), `p2` = C[64, 64] f32.
pub fn gemm64() -> String {
    let mut body = String::from(
        ".shared .align 128 .b8 tile_a[8192];\n.shared .align 128 .b8 tile_b[8192];\n.reg .b32 %a<4>;\n.reg .b32 %b<8>;\n.reg .f32 %c<32>;\n\
         and.b32 %r1, %t, 31;\nshr.u32 %r2, %t, 5;\nmov.u32 %r3, tile_a;\nmov.u32 %r4, tile_b;\n",
    );
    // 512 pieces of 16 bytes for each matrix; 128 threads copy 4 of each.
    for n in 0..4 {
        let _ = write!(
            body,
            "add.u32 %r10, %t, {};\nshr.u32 %r11, %r10, 3;\nand.b32 %r12, %r10, 7;\nand.b32 %r13, %r11, 7;\nxor.b32 %r14, %r12, %r13;\n\
             shl.b32 %r15, %r11, 7;\nshl.b32 %r16, %r14, 4;\nadd.u32 %r17, %r15, %r16;\nshl.b32 %r18, %r10, 4;\ncvt.u64.u32 %rd10, %r18;\n\
             add.u32 %r19, %r3, %r17;\nadd.s64 %rd11, %rd0, %rd10;\ncp.async.cg.shared.global [%r19], [%rd11], 16;\n\
             add.u32 %r20, %r4, %r17;\nadd.s64 %rd12, %rd1, %rd10;\ncp.async.cg.shared.global [%r20], [%rd12], 16;\n",
            128 * n
        );
    }
    for c in 0..32 {
        let _ = writeln!(body, "mov.f32 %c{c}, 0f00000000;");
    }
    body += "cp.async.commit_group;\ncp.async.wait_group 0;\nbar.sync 0;\n";
    // Lane l addresses row l % 16 and the piece l / 16 of a 16 x 16 matrix.
    body += "and.b32 %r30, %r1, 15;\nshr.u32 %r31, %r1, 4;\nshr.u32 %r32, %r2, 1;\nshl.b32 %r32, %r32, 5;\nand.b32 %r33, %r2, 1;\nshl.b32 %r33, %r33, 2;\n";
    for k in 0..4 {
        // B: rows k*16 .. +16, columns warp's 32: two x4 loads with transposition give four 16 x 8 fragments.
        for half in 0..2 {
            let _ = write!(
                body,
                "add.u32 %r40, %r30, {row};\nadd.u32 %r41, %r33, {piece};\nadd.u32 %r41, %r41, %r31;\nand.b32 %r42, %r40, 7;\nxor.b32 %r41, %r41, %r42;\n\
                 shl.b32 %r40, %r40, 7;\nshl.b32 %r41, %r41, 4;\nadd.u32 %r40, %r40, %r41;\nadd.u32 %r40, %r40, %r4;\n\
                 ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {{%b{b0}, %b{b1}, %b{b2}, %b{b3}}}, [%r40];\n",
                row = 16 * k,
                piece = 2 * half,
                b0 = 4 * half,
                b1 = 4 * half + 1,
                b2 = 4 * half + 2,
                b3 = 4 * half + 3
            );
        }
        for m in 0..2 {
            let _ = write!(
                body,
                "add.u32 %r40, %r30, {row};\nadd.u32 %r40, %r40, %r32;\nadd.u32 %r41, %r31, {piece};\nand.b32 %r42, %r40, 7;\nxor.b32 %r41, %r41, %r42;\n\
                 shl.b32 %r40, %r40, 7;\nshl.b32 %r41, %r41, 4;\nadd.u32 %r40, %r40, %r41;\nadd.u32 %r40, %r40, %r3;\n\
                 ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%a0, %a1, %a2, %a3}}, [%r40];\n",
                row = 16 * m,
                piece = 2 * k
            );
            for n in 0..4 {
                let c = 16 * m + 4 * n;
                let _ = writeln!(
                    body,
                    "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {{%c{c}, %c{}, %c{}, %c{}}}, {{%a0, %a1, %a2, %a3}}, {{%b{}, %b{}}}, {{%c{c}, %c{}, %c{}, %c{}}};",
                    c + 1,
                    c + 2,
                    c + 3,
                    2 * n,
                    2 * n + 1,
                    c + 1,
                    c + 2,
                    c + 3
                );
            }
        }
    }
    // Row = warp row + 16 m + lane / 4 (+ 8), column = warp column + 8 n + 2 (lane % 4).
    body += "shr.u32 %r50, %r1, 2;\nadd.u32 %r50, %r50, %r32;\nand.b32 %r51, %r1, 3;\nshl.b32 %r51, %r51, 1;\nshl.b32 %r52, %r33, 3;\nadd.u32 %r51, %r51, %r52;\n\
             shl.b32 %r53, %r50, 8;\nshl.b32 %r54, %r51, 2;\nadd.u32 %r53, %r53, %r54;\ncvt.u64.u32 %rd20, %r53;\nadd.s64 %rd20, %rd20, %rd2;\n";
    for m in 0..2 {
        for n in 0..4 {
            let (c, at) = (16 * m + 4 * n, 16 * m * 256 + 8 * n * 4);
            let _ = write!(
                body,
                "st.global.v2.f32 [%rd20+{at}], {{%c{c}, %c{}}};\nst.global.v2.f32 [%rd20+{}], {{%c{}, %c{}}};\n",
                c + 1,
                at + 8 * 256,
                c + 2,
                c + 3
            );
        }
    }
    super::common::kernel(3, "", &body)
}
