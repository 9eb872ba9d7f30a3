// Sixteen floats at once, one per token, on any instruction set.
//
// The including file names the instruction set by defining SDP_ISA (a namespace) and SDP_LANES (floats in a register:
// 4, 8 or 16). Everything here lives in that namespace: the same source is compiled several times, with other flags,
// and two copies of one inline function under one name would let the linker keep the wrong one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#define SDP_INLINE inline __attribute__((always_inline))

namespace sdp::SDP_ISA {

constexpr int kTokens = 16;
constexpr int kParts = kTokens / SDP_LANES;

typedef float F32 __attribute__((vector_size(SDP_LANES * 4)));
typedef int32_t I32 __attribute__((vector_size(SDP_LANES * 4)));
typedef int8_t I8 __attribute__((vector_size(SDP_LANES)));
typedef uint32_t U32 __attribute__((vector_size(SDP_LANES * 4)));
typedef float F32Unaligned __attribute__((vector_size(SDP_LANES * 4), aligned(4), may_alias));
typedef int32_t I32Unaligned __attribute__((vector_size(SDP_LANES * 4), aligned(1), may_alias));

// One value for each of the 16 tokens of a group.
struct Floats {
  F32 part[kParts];
};
struct Ints {
  I32 part[kParts];
};

SDP_INLINE Floats load(const float* from) {
  Floats out;
  for (int p = 0; p < kParts; ++p) out.part[p] = *reinterpret_cast<const F32Unaligned*>(from + p * SDP_LANES);
  return out;
}
SDP_INLINE Ints load_ints(const void* from) {
  Ints out;
  for (int p = 0; p < kParts; ++p)
    out.part[p] = *reinterpret_cast<const I32Unaligned*>(static_cast<const char*>(from) + p * SDP_LANES * 4);
  return out;
}
SDP_INLINE void store(float* to, const Floats& value) {
  for (int p = 0; p < kParts; ++p) *reinterpret_cast<F32Unaligned*>(to + p * SDP_LANES) = value.part[p];
}
SDP_INLINE void store_ints(void* to, const Ints& value) {
  for (int p = 0; p < kParts; ++p)
    *reinterpret_cast<I32Unaligned*>(static_cast<char*>(to) + p * SDP_LANES * 4) = value.part[p];
}
// The low byte of each.
SDP_INLINE void store_bytes(int8_t* to, const Ints& value) {
  for (int p = 0; p < kParts; ++p) {
    const I8 bytes = __builtin_convertvector(value.part[p], I8);
    std::memcpy(to + p * SDP_LANES, &bytes, sizeof bytes);
  }
}
// The 16 values from number `lane` of `a` on, followed by those of `b`.
SDP_INLINE Floats from_lane(const Floats& a, const Floats& b, int lane) {
#if SDP_LANES == 16
  const I32 from = I32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15} + lane;
  Floats out;
  out.part[0] = reinterpret_cast<F32>(_mm512_permutex2var_ps(reinterpret_cast<__m512>(a.part[0]),
                                                             reinterpret_cast<__m512i>(from),
                                                             reinterpret_cast<__m512>(b.part[0])));
  return out;
#else
  float both[2 * kTokens];
  store(both, a);
  store(both + kTokens, b);
  return load(both + lane);
#endif
}
// Numbers `lane` to `lane + count` alone, without a write to the others: another thread may be at them.
SDP_INLINE void store_lanes(float* to, int lane, int count, const Floats& value) {
#if SDP_LANES == 16
  const auto chosen = static_cast<__mmask16>(((1u << count) - 1) << lane);
  _mm512_mask_storeu_ps(to, chosen, reinterpret_cast<__m512>(value.part[0]));
#else
  float lanes[kTokens];
  store(lanes, value);
  std::memcpy(to + lane, lanes + lane, static_cast<size_t>(count) * sizeof(float));
#endif
}
SDP_INLINE Floats all(float value) {
  Floats out;
  for (int p = 0; p < kParts; ++p) out.part[p] = F32{} + value;
  return out;
}
SDP_INLINE Ints all_ints(int32_t value) {
  Ints out;
  for (int p = 0; p < kParts; ++p) out.part[p] = I32{} + value;
  return out;
}

// An element of four bytes, a float or a block of four int8, in every lane of one register.
SDP_INLINE I32 spread(const void* element) {
  int32_t value;
  std::memcpy(&value, element, 4);
  return I32{} + value;
}
// Four elements that stand next to each other: loaded at once, and spread one by one. With a load for each a sparse
// product took 1.2 to 1.35 times as long, as loads of weights and columns then wait with those of the inputs.
SDP_INLINE I32 load_four(const void* elements) {
#if SDP_LANES == 16
  // With a mask, of all lanes: GCC 12 warns of the undefined values inside its intrinsics without one.
  return reinterpret_cast<I32>(
      _mm512_maskz_broadcast_i32x4(0xffff, _mm_loadu_si128(static_cast<const __m128i*>(elements))));
#elif SDP_LANES == 8
  return reinterpret_cast<I32>(_mm256_broadcastsi128_si256(_mm_loadu_si128(static_cast<const __m128i*>(elements))));
#else
  return *static_cast<const I32Unaligned*>(elements);
#endif
}
template <int R>
SDP_INLINE I32 spread(const I32& four) {
#if SDP_LANES == 16
  return reinterpret_cast<I32>(
      _mm512_maskz_shuffle_epi32(0xffff, reinterpret_cast<__m512i>(four), static_cast<_MM_PERM_ENUM>(R * 0x55)));
#elif SDP_LANES == 8
  return reinterpret_cast<I32>(_mm256_shuffle_epi32(reinterpret_cast<__m256i>(four), R * 0x55));
#else
  return I32{} + four[R];
#endif
}

#define SDP_EACH(type, name, first, expression)        \
  SDP_INLINE type name first {                         \
    type out;                                          \
    for (int p = 0; p < kParts; ++p) out.part[p] = expression; \
    return out;                                        \
  }
SDP_EACH(Floats, operator+, (const Floats& a, const Floats& b), a.part[p] + b.part[p])
SDP_EACH(Floats, operator-, (const Floats& a, const Floats& b), a.part[p] - b.part[p])
SDP_EACH(Floats, operator*, (const Floats& a, const Floats& b), a.part[p] * b.part[p])
SDP_EACH(Floats, operator/, (const Floats& a, const Floats& b), a.part[p] / b.part[p])
SDP_EACH(Floats, operator*, (const Floats& a, float b), a.part[p] * b)
SDP_EACH(Floats, fma, (const Floats& a, const Floats& b, const Floats& c), a.part[p] * b.part[p] + c.part[p])
SDP_EACH(Floats, fma, (float a, const Floats& b, const Floats& c), a * b.part[p] + c.part[p])
SDP_EACH(Floats, fma, (const F32& a, const Floats& b, const Floats& c), a * b.part[p] + c.part[p])
// Where `a` is not a number, so is the result: a network's NaN must not turn into a plausible answer. That is what x86's
// instructions do with the operands in this order; of the comparison GCC makes two instructions and a mask.
#if SDP_LANES == 16
SDP_EACH(Floats, max, (const Floats& a, const Floats& b),
         reinterpret_cast<F32>(_mm512_maskz_max_ps(0xffff, reinterpret_cast<__m512>(b.part[p]), reinterpret_cast<__m512>(a.part[p]))))
SDP_EACH(Floats, min, (const Floats& a, const Floats& b),
         reinterpret_cast<F32>(_mm512_maskz_min_ps(0xffff, reinterpret_cast<__m512>(b.part[p]), reinterpret_cast<__m512>(a.part[p]))))
#elif SDP_LANES == 8
SDP_EACH(Floats, max, (const Floats& a, const Floats& b),
         reinterpret_cast<F32>(_mm256_max_ps(reinterpret_cast<__m256>(b.part[p]), reinterpret_cast<__m256>(a.part[p]))))
SDP_EACH(Floats, min, (const Floats& a, const Floats& b),
         reinterpret_cast<F32>(_mm256_min_ps(reinterpret_cast<__m256>(b.part[p]), reinterpret_cast<__m256>(a.part[p]))))
#else
SDP_EACH(Floats, max, (const Floats& a, const Floats& b), b.part[p] > a.part[p] ? b.part[p] : a.part[p])
SDP_EACH(Floats, min, (const Floats& a, const Floats& b), b.part[p] < a.part[p] ? b.part[p] : a.part[p])
#endif
SDP_EACH(Floats, abs, (const Floats& a), reinterpret_cast<F32>(reinterpret_cast<I32>(a.part[p]) & 0x7fffffff))
SDP_EACH(Floats, to_floats, (const Ints& a), __builtin_convertvector(a.part[p], F32))
SDP_EACH(Ints, bits, (const Floats& a), reinterpret_cast<I32>(a.part[p]))
SDP_EACH(Floats, from_bits, (const Ints& a), reinterpret_cast<F32>(a.part[p]))
SDP_EACH(Ints, operator|, (const Ints& a, const Ints& b), a.part[p] | b.part[p])
SDP_EACH(Ints, operator&, (const Ints& a, const Ints& b), a.part[p] & b.part[p])
SDP_EACH(Ints, operator&, (const Ints& a, int32_t b), a.part[p] & b)
SDP_EACH(Ints, operator^, (const Ints& a, int32_t b), a.part[p] ^ b)
SDP_EACH(Ints, max, (const Ints& a, const Ints& b), b.part[p] > a.part[p] ? b.part[p] : a.part[p])
// Unsigned inside: these work on bits, those of NaN among them, and may carry out of the top.
SDP_EACH(Ints, operator+, (const Ints& a, const Ints& b),
         reinterpret_cast<I32>(reinterpret_cast<U32>(a.part[p]) + reinterpret_cast<U32>(b.part[p])))
SDP_EACH(Ints, operator<<, (const Ints& a, int b), reinterpret_cast<I32>(reinterpret_cast<U32>(a.part[p]) << b))
#undef SDP_EACH

// Adding 1.5 * 2^23 leaves the nearest integer in the low bits of the sum.
constexpr float kRound = 12582912.0f;
constexpr int32_t kRoundBits = 0x4b400000;

// 2^x = 2^n p(x - n) for the nearest integer n and x from -126 to 127, with a polynomial p of 2^r on [-1/2, 1/2].
template <class Polynomial>
SDP_INLINE Floats exp2_by(const Floats& x, const Polynomial& p) {
  const Floats shifted = x + all(kRound);
  return from_bits(bits(p(x - (shifted - all(kRound)))) + (bits(shifted) << 23));
}

// Below -126 the result is 2^-126, which no sum of ours can tell from zero.
SDP_INLINE Floats at_least_smallest(const Floats& x) { return max(x, all(-126.0f)); }

// Both polynomials are minimax with p(0) = 1, fitted for this file. Relative error below 2.3e-7.
SDP_INLINE Floats exp2_in_range(const Floats& x) {
  return exp2_by(x, [](const Floats& r) {
    Floats sum = fma(1.32646796e-3f, r, all(9.67150275e-3f));
    sum = fma(sum, r, all(5.55073395e-2f));
    sum = fma(sum, r, all(2.40222424e-1f));
    sum = fma(sum, r, all(6.93147004e-1f));
    return fma(sum, r, all(1.0f));
  });
}

// 2^x for x at most 127.
SDP_INLINE Floats exp2(const Floats& x) { return exp2_in_range(at_least_smallest(x)); }

// The same to 1.5e-4, for what is rounded to a byte.
SDP_INLINE Floats exp2_coarse(const Floats& x) {
  return exp2_by(at_least_smallest(x), [](const Floats& r) {
    Floats sum = fma(5.50083555e-2f, r, all(2.42209822e-1f));
    sum = fma(sum, r, all(6.93282843e-1f));
    return fma(sum, r, all(1.0f));
  });
}

// x * Phi(x) = max(x, 0) - |x| Phi(-|x|). Phi(-a) is 2^(P(a) - 1) with a polynomial P, fitted for this file so that the
// result's error is least: below 1.2e-7, and no division. Beyond 6.5, where P is above -35, nothing is left of Phi(-a).
SDP_INLINE Floats gelu(const Floats& x) {
  const Floats a = min(abs(x), all(6.5f));
  Floats p = fma(2.99288422e-5f, a, all(-7.39912502e-4f));
  p = fma(p, a, all(7.97757786e-3f));
  p = fma(p, a, all(-5.32383434e-2f));
  p = fma(p, a, all(-4.58915591e-1f));
  p = fma(p, a, all(-1.15114713f));
  return max(x, all(0.0f)) - a * exp2_in_range(fma(p, a, all(-1.0f)));
}

// The tanh form of GELU: x * sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3).
SDP_INLINE Floats gelu_tanh(const Floats& x) {
  const Floats cubic = fma(x * x * 0.044715f, x, x);
  constexpr float kTwiceLog2e = 2.30220818f;  // 2 sqrt(2 / pi) log2(e)
  return x / (all(1.0f) + exp2(min(cubic * -kTwiceLog2e, all(127.0f))));
}

// x * sigmoid(x).
SDP_INLINE Floats silu(const Floats& x) {
  constexpr float kLog2e = 1.44269504f;
  return x / (all(1.0f) + exp2(min(x * -kLog2e, all(127.0f))));
}

}  // namespace sdp::SDP_ISA
