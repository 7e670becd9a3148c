//! PTX text around the instructions of a case.

use super::cases::{Case, CaseArg, Check, Draft, Tolerance};

/// Architectures that cases ask for.
pub const SM80: &str = "sm_80";
pub const SM90: &str = "sm_90a";

/// Builds one kernel. The addresses of the inputs are in `%in0`, `%in1`, .., that of the output in `%out`,
/// the thread's number in `%t`; `%r`, `%rd`, `%f`, `%h`, `%p`, `%d` are registers for free use.
pub struct Kernel {
    name: String,
    target: &'static str,
    block: u32,
    grid: u32,
    module_scope: String,
    body: String,
    directives: String,
    inputs: Vec<Vec<u8>>,
    maps: Vec<CaseArg>,
    output: usize,
    checks: Vec<Check>,
}

impl Kernel {
    pub fn new(name: impl Into<String>, target: &'static str, block: u32) -> Kernel {
        Kernel {
            name: name.into(),
            target,
            block,
            grid: 1,
            module_scope: String::new(),
            body: String::new(),
            directives: String::new(),
            inputs: vec![],
            maps: vec![],
            output: 0,
            checks: vec![],
        }
    }

    pub fn line(&mut self, text: impl AsRef<str>) -> &mut Kernel {
        self.body += text.as_ref();
        self.body += "\n";
        self
    }

    /// A declaration in front of the kernel.
    pub fn module(&mut self, text: &str) -> &mut Kernel {
        self.module_scope += text;
        self.module_scope += "\n";
        self
    }

    pub fn directive(&mut self, text: &str) -> &mut Kernel {
        self.directives += text;
        self.directives += "\n";
        self
    }

    pub fn blocks(&mut self, n: u32) -> &mut Kernel {
        self.grid = n;
        self
    }

    /// The number of the new input.
    pub fn input(&mut self, bytes: Vec<u8>) -> usize {
        self.inputs.push(bytes);
        self.inputs.len() - 1
    }

    /// A tensor map parameter; its generic address is in `%map0`, `%map1`, ..
    pub fn map(&mut self, map: CaseArg) -> &mut Kernel {
        self.maps.push(map);
        self
    }

    /// Room for `count` results of `bits` bits in the output, `stride` bytes apart; their byte offset.
    pub fn results(
        &mut self,
        label: &str,
        count: usize,
        stride: usize,
        bits: u32,
        tolerance: Tolerance,
    ) -> usize {
        let offset = self.output.next_multiple_of(stride.clamp(1, 16));
        self.output = offset + count * stride;
        let label = label.to_string();
        self.checks.push(Check {
            label,
            offset,
            count,
            stride,
            bits,
            tolerance,
        });
        offset
    }

    /// Stores a register of every thread as a new result.
    pub fn store(
        &mut self,
        label: &str,
        register: &str,
        bits: u32,
        tolerance: Tolerance,
    ) -> &mut Kernel {
        let bytes = bits.div_ceil(8).max(4);
        let at = self.results(
            label,
            self.block as usize * self.grid as usize,
            bytes as usize,
            bits,
            tolerance,
        );
        self.line("mov.u32 %index, %ctaid.x;");
        self.line(format!("mad.lo.u32 %index, %index, {}, %t;", self.block));
        self.line(format!("mad.wide.u32 %at, %index, {bytes}, %out;"));
        self.line(format!("st.global.b{} [%at+{at}], {register};", 8 * bytes))
    }

    pub fn draft(&mut self) -> Draft {
        let params = (0..self.inputs.len())
            .map(|n| format!(".param .u64 in{n}"))
            .chain(["\n.param .u64 out".to_string()])
            .chain((0..self.maps.len()).map(|n| format!("\n.param .align 64 .b8 map{n}[128]")));
        let mut loads: String = (0..self.inputs.len())
            .map(|n| format!("ld.param.u64 %in{n}, [in{n}];\n"))
            .collect();
        for n in 0..self.maps.len() {
            loads += &format!("mov.b64 %map{n}, map{n};\ncvta.param.u64 %map{n}, %map{n};\n");
        }
        let version = if self.target == SM80 { "7.8" } else { "8.3" };
        let ptx = format!(
            ".version {version}\n.target {}\n.address_size 64\n{}.visible .entry k({})\n{}{{\n.reg .pred %p<16>;\n.reg .b16 %h<16>;\n\
             .reg .b32 %r<64>;\n.reg .b64 %rd<32>;\n.reg .f32 %f<64>;\n.reg .f64 %d<16>;\n.reg .b32 %t, %index;\n.reg .b64 %out, %at;\n\
             .reg .b64 %in<8>, %map<4>;\n{loads}ld.param.u64 %out, [out];\nmov.u32 %t, %tid.x;\n{}ret;\n}}\n",
            self.target,
            self.module_scope,
            params.collect::<Vec<_>>().join(", "),
            self.directives,
            self.body
        );
        let args = (0..self.inputs.len())
            .map(CaseArg::Input)
            .chain([CaseArg::Output]);
        Draft(Case {
            name: self.name.clone(),
            ptx,
            target: self.target.to_string(),
            grid: self.grid,
            block: self.block,
            shared_bytes: 0,
            args: args.chain(self.maps.clone()).collect(),
            inputs: self.inputs.clone(),
            expected: vec![0; self.output],
            checks: self.checks.clone(),
        })
    }
}
