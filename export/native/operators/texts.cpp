#include "texts.h"

#include <algorithm>

namespace sdp {

int Texts::places_of(int64_t group, int64_t* places) const {
  const int64_t groups = groups_of(length);
  const int64_t first = (padded ? group % groups : group) * kTokensPerGroup;
  const int64_t all = padded ? length : static_cast<int64_t>(kept.size());
  const int64_t tokens = std::min<int64_t>(kTokensPerGroup, all - first);
  for (int64_t t = 0; t < tokens; ++t)
    places[t] = padded ? group / groups * length + first + t : kept[static_cast<size_t>(first + t)];
  return static_cast<int>(tokens);
}

Texts padded_texts(int64_t batch, int64_t length) {
  Texts texts;
  texts.batch = batch, texts.length = length;
  return texts;
}

Texts kept_texts(const Tensor<int64_t>& kept) {
  require(kept.shape.size() == 2, "what says which tokens there are does not have the shape [batch, tokens]");
  Texts texts;
  texts.batch = kept.shape[0], texts.length = kept.shape[1], texts.padded = false;
  if (kept.size() == 0) return texts;  // of however many texts
  texts.first.push_back(0);
  for (int64_t i = 0; i < texts.batch; ++i) {
    for (int64_t at = i * texts.length; at < (i + 1) * texts.length; ++at)
      if (kept.data[at] != 0) texts.kept.push_back(at);
    texts.first.push_back(static_cast<int64_t>(texts.kept.size()));
  }
  return texts;
}

Texts texts_of(const OrtKernelContext* context, size_t index, const Packed& x) {
  const Tensor<int64_t> given = input<int64_t>(context, index);
  Texts texts;
  if (given.shape.size() == 2) {
    texts = kept_texts(given);
    require(x.batch == 1 && x.groups == texts.groups(), "the tokens that there are do not fit the packed activations");
  } else {
    require(given.size() == 1, "tokens is not a single number");
    const int64_t tokens = *given.data;
    require(tokens >= 0 && tokens <= x.groups * kTokensPerGroup && tokens > (x.groups - 1) * kTokensPerGroup,
            "tokens does not fit the packed activations");
    texts = padded_texts(x.batch, tokens);
  }
  return texts;
}

}  // namespace sdp
