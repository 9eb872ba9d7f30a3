// No instruction set assumed: what the compiler makes of it on any CPU.
#define SDP_ISA scalar
#define SDP_LANES 4
#define SDP_GROUPS 1

#include "vector.h"

namespace sdp::SDP_ISA {
constexpr int kZeroPoint = 128;

SDP_INLINE Ints dot4(const Ints& sum, const Ints& inputs, const I32& weights) {
  Ints out;
  for (int p = 0; p < kParts; ++p) {
    out.part[p] = sum.part[p];
    for (int byte = 0; byte < 4; ++byte)
      out.part[p] += (inputs.part[p] >> (8 * byte) & 0xff) * static_cast<int8_t>(weights[0] >> (8 * byte));
  }
  return out;
}
}  // namespace sdp::SDP_ISA

#include "body.h"

namespace sdp {
extern const Kernels kScalar = scalar::table("scalar");
}
