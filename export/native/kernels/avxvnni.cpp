// AVX2 with VNNI in 256 bits: Intel's CPUs without AVX-512, from Alder Lake on.
#define SDP_ISA avxvnni
#define SDP_LANES 8
#define SDP_GROUPS 1

#include <immintrin.h>

#include "vector.h"

namespace sdp::SDP_ISA {
constexpr int kZeroPoint = 128;

SDP_INLINE Ints dot4(const Ints& sum, const Ints& inputs, const I32& weights) {
  Ints out;
  for (int p = 0; p < kParts; ++p)
    out.part[p] = reinterpret_cast<I32>(_mm256_dpbusd_avx_epi32(reinterpret_cast<__m256i>(sum.part[p]),
                                                                reinterpret_cast<__m256i>(inputs.part[p]),
                                                                reinterpret_cast<__m256i>(weights)));
  return out;
}
}  // namespace sdp::SDP_ISA

#include "body.h"

namespace sdp {
extern const Kernels kAvxVnni = avxvnni::table("avxvnni");
}
