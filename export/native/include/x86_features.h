// What the CPU and the operating system support, of the instruction sets that have kernels on x86-64.
//
// Read by CPUID. __builtin_cpu_supports needs data that each compiler's runtime library has to fill: that of zig
// 0.17.1 leaves it at zero.
#pragma once

#include <cpuid.h>

namespace sdp {

struct X86Features {
  bool avx2 = false;        // with FMA
  bool avx_vnni = false;    // of 256 bits
  bool avx512 = false;      // F, BW, DQ and VL
  bool avx512_vnni = false;
};

inline X86Features x86_features() {
  const auto bit = [](unsigned value, int place) { return (value >> place & 1) != 0; };
  unsigned a = 0, b = 0, c = 0, d = 0;
  X86Features found;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0) return found;
  const bool fma = bit(c, 12), saves_state = bit(c, 27), avx = bit(c, 28);
  if (!saves_state || !avx) return found;
  // Which registers the operating system saves when another process runs: XCR0.
  unsigned saved = 0, upper = 0;
  __asm__("xgetbv" : "=a"(saved), "=d"(upper) : "c"(0));
  const bool ymm = (saved & 0x06) == 0x06, zmm = ymm && (saved & 0xe0) == 0xe0;
  if (!ymm || __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return found;
  const unsigned last_subleaf = a;
  found.avx2 = fma && bit(b, 5);
  found.avx512 = found.avx2 && zmm && bit(b, 16) && bit(b, 17) && bit(b, 30) && bit(b, 31);
  found.avx512_vnni = found.avx512 && bit(c, 11);
  if (last_subleaf >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0) found.avx_vnni = found.avx2 && bit(a, 4);
  return found;
}

}  // namespace sdp
