// Four products of u8 and s8 and their sum, without VNNI. `maddubs` would do it in one step but saturates at 16 bits;
// widening both sides to 16 bits first is exact, so that every x86 gives the same answer.
#pragma once

#include "vector.h"

namespace sdp::SDP_ISA {
constexpr int kZeroPoint = 128;

SDP_INLINE Ints dot4(const Ints& sum, const Ints& inputs, const I32& weights) {
  Ints out;
  const I32 even = reinterpret_cast<I32>(SDP_SRAI16(SDP_SLLI16(weights, 8), 8));
  const I32 odd = reinterpret_cast<I32>(SDP_SRAI16(weights, 8));
  for (int p = 0; p < kParts; ++p) {
    const I32 x = inputs.part[p];
    out.part[p] = sum.part[p] + reinterpret_cast<I32>(SDP_MADD16(x & 0x00ff00ff, even)) +
                  reinterpret_cast<I32>(SDP_MADD16(SDP_SRLI16(x, 8), odd));
  }
  return out;
}
}  // namespace sdp::SDP_ISA
