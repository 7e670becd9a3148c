//! Loads, stores, atomics and address spaces.

mod common;
use common::*;
use mixc_sim::{Arg, Memory, SimError};

#[test]
fn widths_and_vectors() {
    let body = "ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%rd0];\nld.global.s8 %r5, [%rd0+15];\nld.global.u8 %r6, [%rd0+15];\n\
                ld.global.v2.b64 {%rd2, %rd3}, [%rd0];\nld.global.s16 %rd4, [%rd0+14];\nadd.u32 %r1, %r1, %r4;\n\
                st.global.v4.b32 [%rd1], {%r1, %r2, %r5, %r6};\nst.global.u64 [%rd1+16], %rd4;\nst.global.u8 [%rd1+24], %r2;\n\
                st.global.b64 [%rd1+32], %rd3;";
    let mut memory = Memory::new();
    let x = memory.alloc_u32("x", &[1, 2, 3, 0x8180_0000]);
    let y = memory.alloc("y", &[0; 40]);
    clean(&run(
        &kernel(2, "", body),
        1,
        1,
        &[Arg::Buffer(x), Arg::Buffer(y)],
        &mut memory,
    ));
    let s = |v: i32| v as u32;
    assert_eq!(
        memory.u32s(y),
        [
            0x8180_0001,
            2,
            s(-127),
            0x81,
            s(-32384),
            s(-1),
            2,
            0,
            3,
            0x8180_0000
        ]
    );
}

#[test]
fn variables_of_every_space() {
    let scope = ".global .align 4 .u32 counter = 5;\n.const .align 4 .b32 table[4] = {10, 20, 30};\n.shared .align 4 .b8 static_part[16];\n\
                 .extern .shared .align 16 .b8 dynamic[];\n";
    let body = ".local .align 8 .b8 depot[16];\n.reg .b64 %SP;\n.reg .b64 %SPL;\nmov.u64 %SPL, depot;\ncvta.local.u64 %SP, %SPL;\n\
                st.u32 [%SP+4], 77;\nld.local.u32 %r1, [%SPL+4];\nld.const.u32 %r2, [table+4];\natom.global.add.u32 %r3, [counter], 1;\n\
                mov.u32 %r4, dynamic;\nst.shared.u32 [%r4], 9;\nst.shared.u32 [static_part], 8;\nld.shared.u32 %r5, [%r4];\n\
                mov.u64 %rd2, static_part;\ncvta.shared.u64 %rd3, %rd2;\nld.u32 %r6, [%rd3];\nisspacep.shared %p1, %rd3;\n\
                selp.u32 %r7, 1, 0, %p1;\ncvta.to.shared.u64 %rd4, %rd3;\nld.shared.u32 %r8, [%rd4];\n\
                st.global.v4.u32 [%rd0], {%r1, %r2, %r3, %r5};\nst.global.v2.u32 [%rd0+16], {%r6, %r7};\nst.global.u32 [%rd0+24], %r8;";
    let mut memory = Memory::new();
    let out = memory.alloc_uninit("out", 28);
    clean(&run_shared(
        &kernel(1, scope, body),
        1,
        1,
        64,
        &[Arg::Buffer(out)],
        &mut memory,
    ));
    assert_eq!(memory.u32s(out), [77, 20, 5, 9, 8, 1, 8]);
}

#[test]
fn parameters_by_value() {
    let text = format!(
        "{}.entry k(.param .u64 out, .param .align 8 .b8 pack[16], .param .f32 x, .param .u8 small) {{\n.reg .b64 %rd<4>;\n\
         .reg .b32 %r<4>;\n.reg .f32 %f<2>;\nld.param.u64 %rd0, [out];\nld.param.u32 %r0, [pack+4];\nld.param.v2.u32 {{%r1, %r2}}, [pack+8];\n\
         ld.param.f32 %f0, [x];\nld.param.u8 %r3, [small];\nst.global.v4.u32 [%rd0], {{%r0, %r1, %r2, %r3}};\nst.global.f32 [%rd0+16], %f0;\nret;\n}}\n",
        header()
    );
    let mut memory = Memory::new();
    let out = memory.alloc_uninit("out", 20);
    let pack: Vec<u8> = (0..16).collect();
    let args = [
        Arg::Buffer(out),
        Arg::Bytes(pack),
        Arg::F32(1.5),
        Arg::Bytes(vec![200]),
    ];
    clean(&run(&text, 1, 1, &args, &mut memory));
    assert_eq!(
        memory.u32s(out),
        [0x0706_0504, 0x0b0a_0908, 0x0f0e_0d0c, 200, 1.5f32.to_bits()]
    );

    let module = parse(&text);
    let launch = |args: &[Arg], memory: &mut Memory| {
        module.launch("k", [1; 3], [1; 3], 0, args, memory, &Default::default())
    };
    let short = [
        Arg::Buffer(out),
        Arg::U32(1),
        Arg::F32(1.5),
        Arg::Bytes(vec![200]),
    ];
    assert!(
        matches!(launch(&short, &mut memory), Err(SimError::ArgumentSize { ref param, expected: 16, found: 4 }) if param == "pack")
    );
    assert!(matches!(
        launch(&[], &mut memory),
        Err(SimError::ArgumentCount {
            expected: 4,
            found: 0,
            ..
        })
    ));
    let missing = module.launch(
        "other",
        [1; 3],
        [1; 3],
        0,
        &args,
        &mut memory,
        &Default::default(),
    );
    assert!(missing.unwrap_err().to_string().contains("it has k"));
}

#[test]
fn atomics() {
    let mut memory = Memory::new();
    let ops = [
        ("add.u32", 10, 5, 15),
        ("min.s32", -3i32 as u32, 5, -3i32 as u32),
        ("max.u32", 3, 5, 5),
        ("and.b32", 12, 10, 8),
        ("or.b32", 12, 10, 14),
        ("xor.b32", 12, 10, 6),
        ("exch.b32", 1, 2, 2),
        ("inc.u32", 4, 4, 0),
        ("inc.u32", 3, 4, 4),
        ("dec.u32", 0, 4, 4),
        ("dec.u32", 3, 4, 2),
        (
            "add.f32",
            1.5f32.to_bits(),
            2f32.to_bits(),
            3.5f32.to_bits(),
        ),
        ("add.noftz.f16x2", 0x3c00_4000, 0x3c00_3c00, 0x4000_4200),
    ];
    for (op, old, operand, new) in ops {
        let body = format!(
            "mov.b32 %r1, {operand};\natom.global.{op} %r2, [%rd0], %r1;\nst.global.u32 [%rd0+4], %r2;\nmov.b32 %r3, {old};\n\
            .shared .align 4 .b32 cell;\nst.shared.u32 [cell], %r3;\nred.shared.{op} [cell], %r1;\nld.shared.u32 %r4, [cell];\nst.global.u32 [%rd0+8], %r4;"
        );
        let x = memory.alloc_u32("x", &[old, 0, 0]);
        clean(&run(
            &kernel(1, "", &body),
            1,
            1,
            &[Arg::Buffer(x)],
            &mut memory,
        ));
        assert_eq!(memory.u32s(x), [new, old, new], "{op}");
    }
    let cas = "atom.global.cas.b32 %r1, [%rd0], 5, 9;\natom.global.cas.b32 %r2, [%rd0], 5, 1;\nst.global.v2.u32 [%rd0+8], {%r1, %r2};";
    let x = memory.alloc_u32("x", &[5, 0, 0, 0]);
    clean(&run(
        &kernel(1, "", cas),
        1,
        1,
        &[Arg::Buffer(x)],
        &mut memory,
    ));
    assert_eq!(memory.u32s(x), [9, 0, 5, 9]);
}

#[test]
fn atomics_of_many_blocks_lose_nothing() {
    let mut memory = Memory::new();
    let x = memory.alloc_u32("x", &[0]);
    clean(&run(
        &kernel(1, "", "red.global.add.u32 [%rd0], 1;"),
        50,
        100,
        &[Arg::Buffer(x)],
        &mut memory,
    ));
    assert_eq!(memory.u32s(x), [5000]);
}

#[test]
fn counts_of_a_copy() {
    let body = "mul.wide.u32 %rd2, %t, 4;\nadd.s64 %rd3, %rd0, %rd2;\nld.global.u32 %r1, [%rd3];\nadd.s64 %rd4, %rd1, %rd2;\n\
                st.global.u32 [%rd4], %r1;";
    let mut memory = Memory::new();
    let (x, y) = (
        memory.alloc_u32("x", &[3; 64]),
        memory.alloc_uninit("y", 256),
    );
    let report = run(
        &kernel(2, "", body),
        1,
        64,
        &[Arg::Buffer(x), Arg::Buffer(y)],
        &mut memory,
    );
    clean(&report);
    let c = &report.counts;
    assert_eq!(
        (
            c.of(mixc_sim::Class::LoadGlobal),
            c.of(mixc_sim::Class::StoreGlobal)
        ),
        (2, 2)
    );
    assert_eq!(
        (
            c.tally.global_requests,
            c.tally.global_sectors,
            c.tally.global_ideal
        ),
        (4, 16, 16)
    );
}

#[test]
fn vector_atomics_and_flushing_sums() {
    let mut memory = Memory::new();
    let x = memory.alloc_f32("x", &[1.0, 2.0, 3.0, 4.0, 1e-39]);
    let body = "createpolicy.fractional.L2::evict_last.b64 %rd5, 0f3F800000;\nmov.f32 %f1, 0f3F800000;\nmov.f32 %f2, 0f40000000;\n\
                red.global.add.L2::cache_hint.v4.f32 [%rd0], {%f1, %f2, %f1, %f2}, %rd5;\nred.global.add.f32 [%rd0+16], 0f00000001;";
    clean(&run(
        &kernel(1, "", body),
        1,
        8,
        &[Arg::Buffer(x)],
        &mut memory,
    ));
    // Subnormals do not survive a sum in global memory.
    assert_eq!(memory.f32s(x), [9.0, 18.0, 11.0, 20.0, 0.0]);
}
