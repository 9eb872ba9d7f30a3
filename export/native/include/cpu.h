// The one place that chooses the kernels.
#pragma once

#include "kernels.h"

namespace sdp {

// The kernels for this CPU: the widest instruction set it has, or the one named by the environment variable
// SDP_KERNELS. Throws Refused if that one does not exist or the CPU lacks it.
const Kernels& kernels();

}  // namespace sdp
