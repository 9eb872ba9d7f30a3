// How fast this CPU multiplies and adds when nothing else holds it up: what the kernels' own speed is compared with.
#include <chrono>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "cpu.h"
#include "tensors.h"

namespace sdp {

namespace {

constexpr int kTurns = 10000;
constexpr double kSeconds = 0.05;

// Keeps the compiler from leaving out what nobody reads.
volatile double sink;

// Sums that do not wait for each other, all in registers: enough of them to fill the time until a sum is ready again.
// Each starts elsewhere, or the compiler would compute one of them for all.
#define SDP_CHAINS(name, target, Register, chains, start, step)          \
  target void name() {                                                   \
    Register sum[chains];                                                \
    for (int c = 0; c < chains; ++c) sum[c] = start;                     \
    for (int turn = 0; turn < kTurns; ++turn)                            \
      for (int c = 0; c < chains; ++c) sum[c] = step;                    \
    double total = 0;                                                    \
    for (int c = 0; c < chains; ++c) total += static_cast<double>(sum[c][0]); \
    sink = total;                                                        \
  }                                                                      \
  constexpr int name##_chains = chains;

// Sums of floats stay between 0 and 10000: neither infinite nor too small for full speed. Sums of integers may wrap.
constexpr float kFactor = 0.999f;

typedef float Floats4 __attribute__((vector_size(16)));
typedef uint32_t Words4 __attribute__((vector_size(16)));
typedef uint32_t Words8 __attribute__((vector_size(32)));
typedef uint32_t Words16 __attribute__((vector_size(64)));

SDP_CHAINS(scalar_f32, , Floats4, 12, Floats4{} + static_cast<float>(c), sum[c] * kFactor + 1.0f)
SDP_CHAINS(scalar_i8, , Words4, 12, Words4{} + c, sum[c] * 3u + 1u)

#if defined(__x86_64__)
#define SDP_AVX2 __attribute__((target("avx2,fma")))
#define SDP_AVX512 __attribute__((target("avx512f,avx512bw")))
#define SDP_VNNI __attribute__((target("avx512f,avx512bw,avx512vnni")))

SDP_CHAINS(avx2_f32, SDP_AVX2, __m256, 12, _mm256_set1_ps(static_cast<float>(c)),
           _mm256_fmadd_ps(sum[c], _mm256_set1_ps(kFactor), _mm256_set1_ps(1.0f)))
SDP_CHAINS(avx512_f32, SDP_AVX512, __m512, 12, _mm512_set1_ps(static_cast<float>(c)),
           _mm512_fmadd_ps(sum[c], _mm512_set1_ps(kFactor), _mm512_set1_ps(1.0f)))
// Without the dot product instruction, the pairs of 16-bit products that the kernels use in its place.
SDP_CHAINS(avx2_i8, SDP_AVX2, Words8, 12, Words8{} + c,
           sum[c] + reinterpret_cast<Words8>(_mm256_madd_epi16(reinterpret_cast<__m256i>(sum[c]), _mm256_set1_epi16(3))))
SDP_CHAINS(avx512_i8, SDP_AVX512, Words16, 12, Words16{} + c,
           sum[c] + reinterpret_cast<Words16>(_mm512_madd_epi16(reinterpret_cast<__m512i>(sum[c]), _mm512_set1_epi16(3))))
SDP_CHAINS(vnni_i8, SDP_VNNI, Words16, 12, Words16{} + c,
           reinterpret_cast<Words16>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sum[c]), _mm512_set1_epi8(1),
                                                         _mm512_set1_epi8(3))))
#elif defined(__aarch64__)
SDP_CHAINS(neon_f32, , float32x4_t, 16, vdupq_n_f32(static_cast<float>(c)),
           vfmaq_f32(sum[c], vdupq_n_f32(kFactor), vdupq_n_f32(kFactor)))
SDP_CHAINS(neon_i8, , int16x8_t, 16, vdupq_n_s16(static_cast<int16_t>(c)),
           vmlal_s8(sum[c], vreinterpret_s8_s16(vget_low_s16(sum[c])), vdup_n_s8(3)))
#endif

struct Loop {
  void (*run)();
  int operations;  // multiplications and additions of one turn
};

struct Peak {
  const char* kernels;
  Loop f32, i8;
};

#define SDP_LOOP(name, operations) {name, name##_chains * (operations)}

const Peak kPeaks[] = {
#if defined(__x86_64__)
    {"avx512vnni", SDP_LOOP(avx512_f32, 32), SDP_LOOP(vnni_i8, 128)},
    {"avx512", SDP_LOOP(avx512_f32, 32), SDP_LOOP(avx512_i8, 64)},
    {"avx2", SDP_LOOP(avx2_f32, 16), SDP_LOOP(avx2_i8, 32)},
#elif defined(__aarch64__)
    {"neon", SDP_LOOP(neon_f32, 8), SDP_LOOP(neon_i8, 16)},
#endif
    {"scalar", SDP_LOOP(scalar_f32, 8), SDP_LOOP(scalar_i8, 8)},
};

// Billions of operations a second.
double rate(const Loop& loop) {
  using Clock = std::chrono::steady_clock;
  loop.run();
  const auto started = Clock::now();
  double operations = 0, seconds = 0;
  while (seconds < kSeconds) {
    loop.run();
    operations += static_cast<double>(kTurns) * loop.operations;
    seconds = std::chrono::duration<double>(Clock::now() - started).count();
  }
  return operations / seconds * 1e-9;
}

}  // namespace

}  // namespace sdp

// Billions of multiplications and additions a second, of floats or, with `int8` not 0, of bytes, by the calling thread
// alone with the instructions of the kernels that a session created now would use. Takes 50 ms. 0 if SDP_KERNELS asks
// for impossible kernels.
extern "C" __attribute__((visibility("default"))) double sdp_peak(int int8) {
  try {
    const char* name = sdp::kernels().name;
    for (const sdp::Peak& peak : sdp::kPeaks)
      if (std::strcmp(peak.kernels, name) == 0) return sdp::rate(int8 != 0 ? peak.i8 : peak.f32);
  } catch (const sdp::Refused&) {
  }
  return 0;
}
