// Which tokens of packed activations belong to which text.
#pragma once

#include <vector>

#include "kernels.h"
#include "tensors.h"

namespace sdp {

struct Text {
  int64_t first;   // its first token, counted over all groups
  int64_t tokens;
};

// The texts of a batch. With padding, each begins with a group of its own; without, one follows the other without a
// gap, and a group may hold tokens of several.
struct Texts {
  int64_t batch = 0, length = 0;  // [batch, length] as the model has them, with padding
  bool padded = true;
  std::vector<int64_t> kept;      // without padding: of each token its place in [batch, length]
  std::vector<int64_t> first;     // and of each text its first token, and the end of the last

  size_t count() const {          // of no tokens at all, there are none
    if (!padded) return first.empty() ? 0 : first.size() - 1;
    return length > 0 ? static_cast<size_t>(batch) : 0;
  }
  Text operator[](size_t i) const {
    if (!padded) return {first[i], first[i + 1] - first[i]};
    return {static_cast<int64_t>(i) * groups_of(length) * kTokensPerGroup, length};
  }
  int64_t groups() const {        // of all texts together
    return padded ? batch * groups_of(length) : groups_of(static_cast<int64_t>(kept.size()));
  }
  // The places in [batch, length] of the tokens of a group; returns how many there are.
  int places_of(int64_t group, int64_t* places) const;
  static int64_t groups_of(int64_t tokens) { return (tokens + kTokensPerGroup - 1) / kTokensPerGroup; }
};

// Texts of `length` tokens each.
Texts padded_texts(int64_t batch, int64_t length);

// The texts of an input [batch, tokens] that is not zero where there is a token.
Texts kept_texts(const Tensor<int64_t>&);

// The texts of `x` by an input as Unpack has it: a number of tokens, or which tokens there are. Throws Refused where it
// does not fit.
Texts texts_of(const OrtKernelContext*, size_t index, const Packed& x);

}  // namespace sdp
