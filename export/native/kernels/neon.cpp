// NEON as every 64-bit Arm CPU has it, without the dot product instructions.
#define SDP_ISA neon
#define SDP_LANES 4
#define SDP_GROUPS 1

#include <arm_neon.h>

#include "vector.h"

namespace sdp::SDP_ISA {
// The inputs are shifted to signed bytes, which NEON multiplies with signed weights.
constexpr int kZeroPoint = 0;

SDP_INLINE Ints dot4(const Ints& sum, const Ints& inputs, const I32& weights) {
  Ints out;
  const int8x8_t w = vget_low_s8((int8x16_t)weights);
  for (int p = 0; p < kParts; ++p) {
    const int8x16_t x = vreinterpretq_s8_s32(veorq_s32((int32x4_t)inputs.part[p], vdupq_n_s32(0x80808080)));
    // Two tokens at a time: eight products of 16 bits, summed in pairs, and in pairs again.
    const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(x), w));
    const int32x4_t high = vpaddlq_s16(vmull_s8(vget_high_s8(x), w));
    out.part[p] = sum.part[p] + (I32)vpaddq_s32(low, high);
  }
  return out;
}
}  // namespace sdp::SDP_ISA

#include "body.h"

namespace sdp {
extern const Kernels kNeon = neon::table("neon");
}
