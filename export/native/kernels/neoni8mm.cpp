// NEON with the dot product of unsigned and signed bytes: FEAT_I8MM, such as Neoverse V1 and Apple's M2.
#define SDP_ISA neoni8mm
#define SDP_LANES 4
#define SDP_GROUPS 1

#include <arm_neon.h>

#include "vector.h"

namespace sdp::SDP_ISA {
constexpr int kZeroPoint = 128;

SDP_INLINE Ints dot4(const Ints& sum, const Ints& inputs, const I32& weights) {
  Ints out;
  const int8x16_t w = (int8x16_t)weights;
  for (int p = 0; p < kParts; ++p)
    out.part[p] = (I32)vusdotq_s32((int32x4_t)sum.part[p], (uint8x16_t)inputs.part[p], w);
  return out;
}
}  // namespace sdp::SDP_ISA

#include "body.h"

namespace sdp {
extern const Kernels kNeonI8mm = neoni8mm::table("neoni8mm");
}
