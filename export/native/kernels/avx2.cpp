// AVX2 without VNNI.
#define SDP_ISA avx2
#define SDP_LANES 8
#define SDP_GROUPS 1

#include <immintrin.h>

#define SDP_REGISTER __m256i
#define SDP_SLLI16(x, n) _mm256_slli_epi16((SDP_REGISTER)(x), n)
#define SDP_SRLI16(x, n) _mm256_srli_epi16((SDP_REGISTER)(x), n)
#define SDP_SRAI16(x, n) _mm256_srai_epi16((SDP_REGISTER)(x), n)
#define SDP_MADD16(x, y) _mm256_madd_epi16((SDP_REGISTER)(x), (SDP_REGISTER)(y))

#include "dot4_madd.h"
#include "body.h"

namespace sdp {
extern const Kernels kAvx2 = avx2::table("avx2");
}
