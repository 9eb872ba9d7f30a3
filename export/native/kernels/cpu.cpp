#include "cpu.h"

#include <cstdlib>
#include <cstring>
#include <string>

#include "tensors.h"

#if defined(__x86_64__)
#include "x86_features.h"
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace sdp {

extern const Kernels kScalar;
#if defined(__x86_64__)
extern const Kernels kAvx2, kAvxVnni, kAvx512, kAvx512Vnni;
#elif defined(__aarch64__)
extern const Kernels kNeon, kNeonDotprod, kNeonI8mm;
#endif

namespace {

struct Choice {
  const Kernels* kernels;
  bool (*available)();
};

bool always() { return true; }

#if defined(__x86_64__)
bool has_avx2() { return x86_features().avx2; }
bool has_avx_vnni() { return x86_features().avx_vnni; }
bool has_avx512() { return x86_features().avx512; }
bool has_avx512_vnni() { return x86_features().avx512_vnni; }
#elif defined(__aarch64__) && defined(__linux__)
// The bits of Linux's interface, which older headers do not name.
bool has_dotprod() { return (getauxval(AT_HWCAP) >> 20 & 1) != 0; }
bool has_i8mm() { return (getauxval(AT_HWCAP2) >> 13 & 1) != 0; }
#elif defined(__aarch64__) && defined(__APPLE__)
bool has_feature(const char* name) {
  int present = 0;
  size_t size = sizeof present;
  return sysctlbyname(name, &present, &size, nullptr, 0) == 0 && present != 0;
}
bool has_dotprod() { return has_feature("hw.optional.arm.FEAT_DotProd"); }
bool has_i8mm() { return has_feature("hw.optional.arm.FEAT_I8MM"); }
#elif defined(__aarch64__)
bool has_dotprod() { return false; }
bool has_i8mm() { return false; }
#endif

// The best first.
const Choice kChoices[] = {
#if defined(__x86_64__)
    {&kAvx512Vnni, has_avx512_vnni},
    {&kAvxVnni, has_avx_vnni},
    {&kAvx512, has_avx512},
    {&kAvx2, has_avx2},
#elif defined(__aarch64__)
    {&kNeonI8mm, has_i8mm},
    {&kNeonDotprod, has_dotprod},
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
