#include "cpu.h"

#include <cstdlib>
#include <cstring>
#include <string>

#include "tensors.h"

namespace sdp {

extern const Kernels kScalar;
#if defined(__x86_64__)
extern const Kernels kAvx2, kAvx512, kAvx512Vnni;
#elif defined(__aarch64__)
extern const Kernels kNeon;
#endif

namespace {

struct Choice {
  const Kernels* kernels;
  bool (*available)();
};

bool always() { return true; }

#if defined(__x86_64__)
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
bool has_avx512_vnni() { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }
#endif

// The best first.
const Choice kChoices[] = {
#if defined(__x86_64__)
    {&kAvx512Vnni, has_avx512_vnni},
    {&kAvx512, has_avx512},
    {&kAvx2, has_avx2},
#elif defined(__aarch64__)
    {&kNeon, always},
#endif
    {&kScalar, always},
};

}  // namespace

const Kernels& kernels() {
  const char* forced = std::getenv("SDP_KERNELS");
  for (const Choice& choice : kChoices) {
    if (forced != nullptr && *forced != '\0' && std::strcmp(forced, choice.kernels->name) != 0) continue;
    if (choice.available()) return *choice.kernels;
  }
  throw Refused(std::string("SDP_KERNELS asks for kernels that this CPU does not have: ") + forced);
}

}  // namespace sdp

// The name of the kernels that a session created now would use; empty if SDP_KERNELS asks for impossible ones.
extern "C" __attribute__((visibility("default"))) const char* sdp_kernels() {
  try {
    return sdp::kernels().name;
  } catch (const sdp::Refused&) {
    return "";
  }
}
