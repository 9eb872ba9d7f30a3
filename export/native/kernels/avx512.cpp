// AVX-512 without VNNI.
#define SDP_ISA avx512
#define SDP_LANES 16
#define SDP_GROUPS 4

#include <immintrin.h>

#define SDP_REGISTER __m512i
#define SDP_SLLI16(x, n) _mm512_slli_epi16((SDP_REGISTER)(x), n)
#define SDP_SRLI16(x, n) _mm512_srli_epi16((SDP_REGISTER)(x), n)
#define SDP_SRAI16(x, n) _mm512_srai_epi16((SDP_REGISTER)(x), n)
#define SDP_MADD16(x, y) _mm512_madd_epi16((SDP_REGISTER)(x), (SDP_REGISTER)(y))

#include "dot4_madd.h"
#include "body.h"

namespace sdp {
extern const Kernels kAvx512 = avx512::table("avx512");
}
