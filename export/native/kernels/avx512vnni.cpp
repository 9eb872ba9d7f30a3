// AVX-512 with VNNI: four products of u8 and s8 and their sum in one instruction.
#define SDP_ISA avx512vnni
#define SDP_LANES 16
#define SDP_GROUPS 4

#include <immintrin.h>

#include "vector.h"

namespace sdp::SDP_ISA {
constexpr int kZeroPoint = 128;

SDP_INLINE Ints dot4(const Ints& sum, const Ints& inputs, const I32& weights) {
  Ints out;
  out.part[0] = reinterpret_cast<I32>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sum.part[0]),
                                                          reinterpret_cast<__m512i>(inputs.part[0]),
                                                          reinterpret_cast<__m512i>(weights)));
  return out;
}
}  // namespace sdp::SDP_ISA

#include "body.h"

namespace sdp {
extern const Kernels kAvx512Vnni = avx512vnni::table("avx512vnni");
}
