// The kernels, once for each instruction set: see vector.h. Before this file, the including one defines SDP_ISA,
// SDP_LANES, SDP_GROUPS (groups of tokens in the registers of a sparse product) and `dot4` of its instruction set.
#pragma once

#include "kernels.h"
#include "vector.h"

namespace sdp::SDP_ISA {

SDP_INLINE Floats activate(const Floats& x, Activation activation) {
  switch (activation) {
    case Activation::gelu:
      return gelu(x);
    case Activation::gelu_tanh:
      return gelu_tanh(x);
    case Activation::silu:
      return silu(x);
    case Activation::none:
      break;
  }
  return x;
}

// The sums of a sparse fp32 product: what an element adds, where a sum starts and how it ends. What the end of a row and
// of a group needs is loaded once: after a store to the output the compiler would load it again.
struct F32Sums {
  using Sum = Floats;
  struct Row {
    float bias;
  };
  struct Group {};
  const ProductF32& product;

  static SDP_INLINE Sum add(const Sum& sum, const I32& weight, const char* inputs) {
    return fma(reinterpret_cast<const F32&>(weight), load(reinterpret_cast<const float*>(inputs)), sum);
  }
  SDP_INLINE Row row(int row) const { return {product.bias[row]}; }
  SDP_INLINE Group group(int) const { return {}; }
  SDP_INLINE Sum first(int row) const { return all(product.bias[row]); }
  static SDP_INLINE Floats last(const Sum& sum, const Row&, const Group&) { return sum; }
  static SDP_INLINE Sum resume(const float* y) { return load(y); }
  static SDP_INLINE void suspend(float* y, const Sum& sum) { store(y, sum); }
};

// The same of an int8 product. Sums that are not complete wait in the output's memory as integers.
struct I8Sums {
  using Sum = Ints;
  struct Row {
    float scale, bias;
  };
  using Group = Floats;
  const ProductI8& product;
  const float* scale;  // [groups][16]

  static SDP_INLINE Sum add(const Sum& sum, const I32& weights, const char* inputs) {
    return dot4(sum, load_ints(inputs), weights);
  }
  SDP_INLINE Sum first(int row) const { return all_ints(-kZeroPoint * product.row_sum[row]); }
  SDP_INLINE Row row(int row) const { return {product.row_scale[row], product.bias[row]}; }
  SDP_INLINE Group group(int group) const { return load(scale + group * kTokens); }
  static SDP_INLINE Floats last(const Sum& sum, const Row& row, const Group& scale) {
    return fma(to_floats(sum) * row.scale, scale, all(row.bias));
  }
  static SDP_INLINE Sum resume(const float* y) { return load_ints(y); }
  static SDP_INLINE void suspend(float* y, const Sum& sum) { store_ints(y, sum); }
};

// What row R of a quad adds to the sums of G groups: its element of four, times the inputs of its column of four bytes.
template <int R, class Sums, int G>
SDP_INLINE void add_element(typename Sums::Sum (&sum)[G], const I32& four, uint32_t columns,
                            const char* const (&inputs)[G]) {
  const I32 weight = spread<R>(four);
  const size_t at = static_cast<size_t>(columns >> 8 * R & 0xff) * (kTokens * 4);
#pragma GCC unroll 4
  for (int g = 0; g < G; ++g) sum[g] = Sums::add(sum[g], weight, inputs[g] + at);
}

// Every quad of one (block, slice) times `G` groups. The 4 x G sums stay in registers through a quad.
template <int G, class Sums>
SDP_INLINE void sparse_slice(const Sums& sums, const SparseMatrix& m, int block, int slice, const char* x,
                             size_t x_stride, int first_group, float* y, size_t y_stride, Activation activation) {
  const int first_row = block * m.block;
  const int rows = first_row + m.block < m.rows ? m.block : m.rows - first_row;
  const size_t order = static_cast<size_t>(m.slices()) * first_row + static_cast<size_t>(slice) * rows;
  const uint8_t* row = m.row + order;
  const uint16_t* width = m.width + order / 4;
  const size_t element = m.first_element[static_cast<size_t>(block) * m.slices() + slice];
  const char* value = static_cast<const char*>(m.values) + element * 4;
  const uint8_t* column = m.column + element;
  const bool starts = slice == 0;
  const bool ends = slice == m.slices() - 1;
  constexpr size_t kStep = kTokens * 4;  // bytes of one column of a group
  // A pointer for each group: with one pointer and multiples of the stride, GCC adds up addresses between the products.
  const char* inputs[G];
  typename Sums::Group group[G];
  for (int g = 0; g < G; ++g) {
    inputs[g] = x + g * x_stride + static_cast<size_t>(slice) * m.slice * kStep;
    group[g] = sums.group(first_group + g);
  }

  for (int quad = 0; quad < rows; quad += 4) {
    // The loops over rows and groups are unrolled by order: GCC keeps the sums in registers only where every index is a
    // constant, and their detour over the stack cost 7 % of a product.
    typename Sums::Sum sum[4][G];
    float* out[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) out[r] = y + static_cast<size_t>(first_row + row[quad + r]) * kTokens;
    if (starts) {
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r)
#pragma GCC unroll 4
        for (int g = 0; g < G; ++g) sum[r][g] = sums.first(first_row + row[quad + r]);
    } else {
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r)
#pragma GCC unroll 4
        for (int g = 0; g < G; ++g) sum[r][g] = Sums::resume(out[r] + g * y_stride);
    }
#pragma GCC unroll 2
    for (int j = *width++; j > 0; --j) {
      const I32 four = load_four(value);
      uint32_t columns;
      std::memcpy(&columns, column, 4);
      add_element<0, Sums>(sum[0], four, columns, inputs);
      add_element<1, Sums>(sum[1], four, columns, inputs);
      add_element<2, Sums>(sum[2], four, columns, inputs);
      add_element<3, Sums>(sum[3], four, columns, inputs);
      value += 16;
      column += 4;
    }
    if (!ends) {
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r)
#pragma GCC unroll 4
        for (int g = 0; g < G; ++g) Sums::suspend(out[r] + g * y_stride, sum[r][g]);
    } else {
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) {
        const typename Sums::Row end = sums.row(first_row + row[quad + r]);
#pragma GCC unroll 4
        for (int g = 0; g < G; ++g)
          store(out[r] + g * y_stride, activate(Sums::last(sum[r][g], end, group[g]), activation));
      }
    }
  }
}

template <int G, class Sums>
__attribute__((noinline)) void sparse_tile(const Sums& sums, const SparseMatrix& m, int block, const char* x,
                                           size_t x_stride, int first_group, float* y, size_t y_stride,
                                           Activation activation) {
  for (int slice = 0; slice < m.slices(); ++slice)
    sparse_slice<G>(sums, m, block, slice, x, x_stride, first_group, y, y_stride, activation);
}

// `groups` groups of tokens, as many at a time as the registers hold.
template <class Sums>
void sparse(const Sums& sums, const SparseMatrix& m, int block, const char* x, size_t x_stride, int groups, float* y,
            size_t y_stride, Activation activation) {
  for (int g = 0; g < groups;) {
    const char* from = x + g * x_stride;
    float* to = y + g * y_stride;
    const int left = groups - g;
#define SDP_TILE(n)                                                                       \
  if constexpr (SDP_GROUPS >= n)                                                          \
    if (left >= n) {                                                                      \
      sparse_tile<n>(sums, m, block, from, x_stride, g, to, y_stride, activation);        \
      g += n;                                                                             \
      continue;                                                                           \
    }
    SDP_TILE(4)
    SDP_TILE(3)
    SDP_TILE(2)
    SDP_TILE(1)
#undef SDP_TILE
  }
}

inline void sparse_f32(const ProductF32& product, int block, const float* x, size_t x_stride, int groups, float* y,
                       size_t y_stride) {
  sparse(F32Sums{product}, *product.matrix, block, reinterpret_cast<const char*>(x), x_stride * 4, groups, y, y_stride,
         product.activation);
}

inline void sparse_i8(const ProductI8& product, int block, const uint8_t* x, size_t x_stride, const float* scale,
                      int groups, float* y, size_t y_stride) {
  sparse(I8Sums{product, scale}, *product.matrix, block, reinterpret_cast<const char*>(x), x_stride, groups, y,
         y_stride, product.activation);
}

// sum[r][g] += matrix[k][r] * x[g][k], r < R: the one dense product, of weights and of attention's queries and keys. Both
// matrices are [elements][16], an element four bytes as in a sparse product.
//
// `ahead` is what a later call will read of the matrix: for each k a part of a line is fetched. It may be beyond the end,
// as a fetch of any address is harmless.
template <class Sums, int R, int G>
SDP_INLINE void dense_sums(const char* matrix, int elements, const char* x, size_t x_stride,
                           typename Sums::Sum (&sum)[R][G], const char* ahead = nullptr) {
  constexpr size_t kStep = kTokens * 4;
  for (int k = 0; k < elements; ++k) {
    if (ahead) __builtin_prefetch(ahead + k * (kStep * R / kTokens), 0, 3);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
      for (int g = 0; g < G; ++g)
        sum[r][g] = Sums::add(sum[r][g], spread(matrix + k * kStep + 4 * r), x + g * x_stride + k * kStep);
  }
}

constexpr int kDenseRows = SDP_LANES == 16 ? 8 : 4;

template <int G, class Sums>
void dense_tile(const Sums& sums, const char* matrix, int first_row, int last_row, int elements, const char* x,
                size_t x_stride, int first_group, float* y, size_t y_stride, Activation activation) {
  constexpr size_t kStep = kTokens * 4;
  typename Sums::Group group[G];
  for (int g = 0; g < G; ++g) group[g] = sums.group(first_group + g);
  for (int row = first_row; row < last_row; row += kDenseRows) {
    typename Sums::Sum sum[kDenseRows][G];
#pragma GCC unroll 8
    for (int r = 0; r < kDenseRows; ++r)
#pragma GCC unroll 2
      for (int g = 0; g < G; ++g) sum[r][g] = sums.first(row + r);
    const size_t panel = static_cast<size_t>(elements) * kStep;
    const char* rows = matrix + row / kTokens * panel + row % kTokens * 4;
    const char* ahead = matrix + (row / kTokens + 1) * panel + row % kTokens * (panel / kTokens);
    dense_sums<Sums>(rows, elements, x, x_stride, sum, ahead);
#pragma GCC unroll 8
    for (int r = 0; r < kDenseRows; ++r) {
      const typename Sums::Row end = sums.row(row + r);
#pragma GCC unroll 2
      for (int g = 0; g < G; ++g)
        store(y + g * y_stride + static_cast<size_t>(row + r) * kTokens,
              activate(Sums::last(sum[r][g], end, group[g]), activation));
    }
  }
}

template <class Sums>
void dense(const Sums& sums, const void* matrix, int first_row, int last_row, int elements, const char* x,
           size_t x_stride, int groups, float* y, size_t y_stride, Activation activation) {
  const char* rows = static_cast<const char*>(matrix);
  int g = 0;
  if constexpr (SDP_LANES == 16)
    for (; g + 1 < groups; g += 2)
      dense_tile<2>(sums, rows, first_row, last_row, elements, x + g * x_stride, x_stride, g, y + g * y_stride, y_stride,
                    activation);
  for (; g < groups; ++g)
    dense_tile<1>(sums, rows, first_row, last_row, elements, x + g * x_stride, x_stride, g, y + g * y_stride, y_stride,
                  activation);
}

inline void dense_f32(const ProductF32& product, const float* matrix, int first_row, int last_row, int columns,
                      const float* x, size_t x_stride, int groups, float* y, size_t y_stride) {
  dense(F32Sums{product}, matrix, first_row, last_row, columns, reinterpret_cast<const char*>(x), x_stride * 4, groups,
        y, y_stride, product.activation);
}

inline void dense_i8(const ProductI8& product, const int8_t* matrix, int first_row, int last_row, int columns,
                     const uint8_t* x, size_t x_stride, const float* scale, int groups, float* y, size_t y_stride) {
  dense(I8Sums{product, scale}, matrix, first_row, last_row, columns / 4, reinterpret_cast<const char*>(x), x_stride,
        groups, y, y_stride, product.activation);
}

// The largest |value(k)|. Positive floats are ordered like their bits, and a NaN is above them all, so that it is not lost.
template <class Value>
SDP_INLINE Floats largest_magnitude(int count, const Value& value) {
  Ints largest = all_ints(0);
  for (int k = 0; k < count; ++k) largest = max(largest, bits(abs(value(k))));
  return from_bits(largest);
}

inline void quantize(const float* x, int width, uint8_t* q, float* scale) {
  const Floats largest = largest_magnitude(width, [&](int k) { return load(x + static_cast<size_t>(k) * kTokens); });
  // A token of zeros has scale zero; its inverse only has to be finite.
  store(scale, largest * (1.0f / 127));
  const Floats inverse = all(127.0f) / max(largest, all(1e-30f));
  for (int block = 0; block < width / 4; ++block) {
    Ints bytes = all_ints(0);
    for (int i = 3; i >= 0; --i) {
      const Floats value = load(x + static_cast<size_t>(4 * block + i) * kTokens);
      // The sum's low byte is the nearest integer: 1.5 * 2^23 ends in zeros, so 128 adds the zero point.
      const Ints rounded = bits(fma(value, inverse, all(kRound + 128.0f)));
      bytes = (bytes << 8) | (rounded & 0xff);
    }
    store_ints(q + static_cast<size_t>(block) * kTokens * 4, bytes);
  }
}

// term(k) of all features, summed four at a time: one sum alone would wait for the addition before it.
template <class Term>
SDP_INLINE Floats sum_features(int width, const Term& term) {
  Floats sum[4] = {all(0.0f), all(0.0f), all(0.0f), all(0.0f)};
  int k = 0;
  for (; k + 4 <= width; k += 4)
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) sum[i] = sum[i] + term(k + i);
  for (; k < width; ++k) sum[0] = sum[0] + term(k);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

inline void layer_norm(const float* x, const float* residual, const float* gamma, const float* beta, float epsilon,
                       int width, float* y) {
  const float share = 1.0f / static_cast<float>(width);
  const auto at = [](int k) { return static_cast<size_t>(k) * kTokens; };
  const Floats mean = sum_features(width, [&](int k) {
                        const Floats value = residual ? load(x + at(k)) + load(residual + at(k)) : load(x + at(k));
                        store(y + at(k), value);
                        return value;
                      }) * share;
  const Floats squares = sum_features(width, [&](int k) {
    const Floats centred = load(y + at(k)) - mean;
    return centred * centred;
  });
  Floats inverse = fma(squares, all(share), all(epsilon));
  for (int p = 0; p < kParts; ++p)
    for (int i = 0; i < SDP_LANES; ++i) inverse.part[p][i] = 1.0f / __builtin_sqrtf(inverse.part[p][i]);
  for (int k = 0; k < width; ++k)
    store(y + at(k), fma((load(y + at(k)) - mean) * inverse, all(gamma[k]), all(beta[k])));
}

inline void rms_norm(const float* x, const float* gamma, float epsilon, int width, float* y) {
  const auto at = [](int k) { return static_cast<size_t>(k) * kTokens; };
  const Floats squares = sum_features(width, [&](int k) {
    const Floats value = load(x + at(k));
    return value * value;
  });
  Floats inverse = fma(squares, all(1.0f / static_cast<float>(width)), all(epsilon));
  for (int p = 0; p < kParts; ++p)
    for (int i = 0; i < SDP_LANES; ++i) inverse.part[p][i] = 1.0f / __builtin_sqrtf(inverse.part[p][i]);
  for (int k = 0; k < width; ++k) store(y + at(k), load(x + at(k)) * inverse * gamma[k]);
}

inline void gate(const float* x, int width, Activation activation, float* y) {
  const size_t half = static_cast<size_t>(width) * kTokens;
  for (size_t k = 0; k < half; k += kTokens) store(y + k, activate(load(x + k), activation) * load(x + half + k));
}

}  // namespace sdp::SDP_ISA

#include "attention_body.h"

namespace sdp::SDP_ISA {

inline void pack(const float* const* rows, int tokens, int width, float* y) {
  for (int k = 0; k < width; ++k)
    for (int t = 0; t < kTokens; ++t) y[static_cast<size_t>(k) * kTokens + t] = t < tokens ? rows[t][k] : 0.0f;
}

inline void unpack(const float* x, int tokens, int width, float* const* rows) {
  for (int t = 0; t < tokens; ++t)
    for (int k = 0; k < width; ++k) rows[t][k] = x[static_cast<size_t>(k) * kTokens + t];
}

inline void add_row(const float* row, int width, float* sum) {
  for (int k = 0; k < width; ++k) sum[k] += row[k];
}

inline void add_row_i8(const int8_t* row, float scale, int width, float* sum) {
  for (int k = 0; k < width; ++k) sum[k] += scale * static_cast<float>(row[k]);
}

inline void align(const float* x, size_t x_stride, int lane, int tokens, int width, float* y) {
  const int last = (lane + tokens - 1) / kTokens;
  for (int g = 0; g * kTokens < tokens; ++g) {
    const float* here = x + g * x_stride;
    const float* next = x + (g < last ? g + 1 : last) * x_stride;
    for (int k = 0; k < width; ++k, here += kTokens, next += kTokens, y += kTokens)
      store(y, from_lane(load(here), load(next), lane));
  }
}

inline void place(const float* x, int lane, int tokens, int width, float* y, size_t y_stride) {
  const int here = tokens < kTokens - lane ? tokens : kTokens - lane;
  for (int k = 0; k < width; ++k, x += kTokens, y += kTokens) {
    const Floats value = load(x);
    store_lanes(y, lane, here, from_lane(value, value, (kTokens - lane) % kTokens));
    if (here < tokens) store_lanes(y + y_stride, 0, tokens - here, from_lane(value, value, here));
  }
}

constexpr Kernels table(const char* name) {
#define KERNEL(kernel, ...) kernel,
  return {name, SDP_GROUPS,
#include "kernels.def"
  };
}

}  // namespace sdp::SDP_ISA
