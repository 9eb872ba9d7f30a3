// NEON with the dot product of signed bytes: Armv8.2 with FEAT_DotProd, such as Neoverse N1 and Apple's M1.
#define SDP_ISA neondotprod
#define SDP_LANES 4
#define SDP_GROUPS 1

#include <arm_neon.h>

#include "vector.h"

namespace sdp::SDP_ISA {
// The inputs are shifted to signed bytes, as in neon.cpp.
constexpr int kZeroPoint = 0;

SDP_INLINE Ints dot4(const Ints& sum, const Ints& inputs, const I32& weights) {
  Ints out;
  const int8x16_t w = (int8x16_t)weights;
  for (int p = 0; p < kParts; ++p) {
    const int8x16_t x = vreinterpretq_s8_s32(veorq_s32((int32x4_t)inputs.part[p], vdupq_n_s32(0x80808080)));
    out.part[p] = (I32)vdotq_s32((int32x4_t)sum.part[p], x, w);
  }
  return out;
}
}  // namespace sdp::SDP_ISA

#include "body.h"

namespace sdp {
extern const Kernels kNeonDotprod = neondotprod::table("neondotprod");
}
