// The kernels of this CPU against naive sums in double precision, without onnxruntime: for instruction sets that only an
// emulator has here. Prints the name of the kernels, and fails with the first difference.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>

#include "cpu.h"

namespace {

std::mt19937 generator(0);

std::vector<float> floats(size_t count) {
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(generator);
  return values;
}

void expect(const std::string& what, double got, double wanted, double slack) {
  if (std::abs(got - wanted) <= slack) return;
  std::printf("%s: got %.9g, expected %.9g\n", what.c_str(), got, wanted);
  std::exit(1);
}

// One block, slices of `slice` columns, every element stored in the order of its row.
struct Stored {
  sdp::SparseMatrix matrix;
  std::vector<float> weight;  // [rows][columns * per_element]
  std::vector<char> values;
  std::vector<uint8_t> columns, rows;
  std::vector<uint16_t> widths;
};

Stored store(int rows, int columns, int slice, double density, bool int8) {
  Stored s;
  const int per_element = int8 ? 4 : 1;
  std::uniform_real_distribution<double> chance;
  std::uniform_int_distribution<int> byte(-127, 127);
  s.weight.assign(static_cast<size_t>(rows) * columns * per_element, 0);
  for (int row = 0; row < rows; ++row)
    for (int column = 0; column < columns; ++column)
      if (row != rows / 2 && chance(generator) < density)
        for (int i = 0; i < per_element; ++i)
          s.weight[(static_cast<size_t>(row) * columns + column) * per_element + i] =
              int8 ? static_cast<float>(byte(generator)) : floats(1)[0];
  s.matrix.rows = rows;
  s.matrix.columns = columns;
  s.matrix.slice = slice;
  s.matrix.block = 256;
  for (int first = 0; first < columns; first += slice) {
    const int here = std::min(slice, columns - first);
    s.matrix.first_element.push_back(s.columns.size());
    for (int quad = 0; quad < rows; quad += 4) {
      // Every column is an element, most of them zero: what padding looks like, only more of it.
      s.widths.push_back(static_cast<uint16_t>(here));
      for (int r = 0; r < 4; ++r) s.rows.push_back(static_cast<uint8_t>(rows - 1 - (quad + r)));
      for (int column = 0; column < here; ++column)
        for (int r = 0; r < 4; ++r) {
          const float* w = &s.weight[(static_cast<size_t>(rows - 1 - (quad + r)) * columns + first + column) * per_element];
          char bytes[4];
          if (int8)
            for (int i = 0; i < 4; ++i) bytes[i] = static_cast<char>(static_cast<int8_t>(w[i]));
          else
            std::memcpy(bytes, w, 4);
          s.values.insert(s.values.end(), bytes, bytes + 4);
          s.columns.push_back(static_cast<uint8_t>(column));
        }
    }
  }
  s.matrix.values = s.values.data();
  s.matrix.column = s.columns.data();
  s.matrix.row = s.rows.data();
  s.matrix.width = s.widths.data();
  return s;
}

void check_sparse(const sdp::Kernels& kernels, int rows, int columns, int slice, int groups, double density) {
  const Stored s = store(rows, columns, slice, density, false);
  const std::vector<float> bias = floats(rows), x = floats(static_cast<size_t>(groups) * columns * 16);
  std::vector<float> y(static_cast<size_t>(groups) * rows * 16);
  kernels.sparse_f32({&s.matrix, bias.data(), sdp::Activation::gelu}, 0, x.data(), columns * 16, groups, y.data(), rows * 16);
  for (int g = 0; g < groups; ++g)
    for (int row = 0; row < rows; ++row)
      for (int t = 0; t < 16; ++t) {
        double sum = bias[row];
        for (int k = 0; k < columns; ++k) sum += double(s.weight[row * columns + k]) * x[(g * columns + k) * 16 + t];
        expect("sparse_f32", y[(g * rows + row) * 16 + t], sum * 0.5 * (1 + std::erf(sum / std::sqrt(2.0))),
               3e-6 * (1 + std::abs(sum)));
      }
}

void check_int8(const sdp::Kernels& kernels, int rows, int blocks, int slice, int groups, double density) {
  const Stored s = store(rows, blocks, slice, density, true);
  const int columns = 4 * blocks;
  std::vector<int32_t> row_sum(rows, 0);
  for (int row = 0; row < rows; ++row)
    for (int k = 0; k < columns; ++k) row_sum[row] += static_cast<int32_t>(s.weight[row * columns + k]);
  const std::vector<float> bias = floats(rows), row_scale = floats(rows);
  // Multiples of 1/8 with 127/8 among them: the quantization is exact.
  std::uniform_int_distribution<int> byte(-127, 127);
  std::vector<float> x(static_cast<size_t>(groups) * columns * 16);
  for (size_t i = 0; i < x.size(); ++i) x[i] = (i / 16 % columns == 0 ? 127 : byte(generator)) / 8.0f;
  std::vector<uint8_t> q(x.size());
  std::vector<float> scale(groups * 16), y(static_cast<size_t>(groups) * rows * 16);
  for (int g = 0; g < groups; ++g)
    kernels.quantize(&x[static_cast<size_t>(g) * columns * 16], columns, &q[static_cast<size_t>(g) * columns * 16], &scale[g * 16]);
  kernels.sparse_i8({&s.matrix, bias.data(), row_scale.data(), row_sum.data(), sdp::Activation::none}, 0, q.data(),
                    columns * 16, scale.data(), groups, y.data(), rows * 16);
  for (int g = 0; g < groups; ++g)
    for (int row = 0; row < rows; ++row)
      for (int t = 0; t < 16; ++t) {
        double sum = 0;
        for (int k = 0; k < columns; ++k) sum += double(s.weight[row * columns + k]) * x[(g * columns + k) * 16 + t];
        expect("sparse_i8", y[(g * rows + row) * 16 + t], sum * row_scale[row] + bias[row],
               1e-5 * (1 + std::abs(sum * row_scale[row])));
      }
}

void check_norm(const sdp::Kernels& kernels, int width) {
  const std::vector<float> x = floats(width * 16), r = floats(width * 16), gamma = floats(width), beta = floats(width);
  std::vector<float> y(width * 16);
  kernels.layer_norm(x.data(), r.data(), gamma.data(), beta.data(), 1e-5f, width, y.data());
  for (int t = 0; t < 16; ++t) {
    double mean = 0, square = 0;
    for (int k = 0; k < width; ++k) mean += (double(x[k * 16 + t]) + r[k * 16 + t]) / width;
    for (int k = 0; k < width; ++k) square += std::pow(double(x[k * 16 + t]) + r[k * 16 + t] - mean, 2) / width;
    for (int k = 0; k < width; ++k)
      expect("layer_norm", y[k * 16 + t],
             (double(x[k * 16 + t]) + r[k * 16 + t] - mean) / std::sqrt(square + 1e-5) * gamma[k] + beta[k], 2e-5);
  }
}

void check_rms_norm(const sdp::Kernels& kernels, int width) {
  const std::vector<float> x = floats(width * 16), gamma = floats(width);
  std::vector<float> y(width * 16);
  kernels.rms_norm(x.data(), gamma.data(), 1e-5f, width, y.data());
  for (int t = 0; t < 16; ++t) {
    double square = 0;
    for (int k = 0; k < width; ++k) square += std::pow(double(x[k * 16 + t]), 2) / width;
    for (int k = 0; k < width; ++k)
      expect("rms_norm", y[k * 16 + t], x[k * 16 + t] / std::sqrt(square + 1e-5) * gamma[k], 2e-5);
  }
}

void check_gate(const sdp::Kernels& kernels, int width) {
  const std::vector<float> x = floats(2 * width * 16);
  std::vector<float> y(width * 16);
  using sdp::Activation;
  for (const Activation activation : {Activation::none, Activation::gelu, Activation::gelu_tanh, Activation::silu}) {
    kernels.gate(x.data(), width, activation, y.data());
    for (size_t i = 0; i < y.size(); ++i) {
      const double a = x[i], u = std::sqrt(2 / std::acos(-1.0)) * (a + 0.044715 * a * a * a);
      double share = 1;
      if (activation == Activation::gelu) share = 0.5 * (1 + std::erf(a / std::sqrt(2.0)));
      if (activation == Activation::gelu_tanh) share = 0.5 * (1 + std::tanh(u));
      if (activation == Activation::silu) share = 1 / (1 + std::exp(-a));
      expect("gate", y[i], a * share * x[width * 16 + i], 3e-6 * (1 + std::abs(a * x[width * 16 + i])));
    }
  }
}

constexpr int kSize = 8;  // of a head

// softmax(q k^T / 2 + bias ln 2) v, naively; `slack` is relative to values above 1.
void expect_attention(const char* what, const std::vector<float>& q, const std::vector<float>& k,
                      const std::vector<float>& v, const std::vector<float>& bias, int groups,
                      const std::vector<float>& y, double slack) {
  constexpr int stride = kSize * 16;
  const int keys = static_cast<int>(bias.size());
  const auto at = [](int token, int d) { return token / 16 * stride + d * 16 + token % 16; };
  for (int i = 0; i < groups * 16; ++i) {
    std::vector<double> e(keys);
    double total = 0;
    for (int j = 0; j < keys; ++j) {
      double score = 0;
      for (int d = 0; d < kSize; ++d) score += double(q[at(i, d)]) * k[at(j, d)];
      total += e[j] = std::exp(score * 0.5 + bias[j] * std::log(2.0));
    }
    for (int d = 0; d < kSize; ++d) {
      double sum = 0;
      for (int j = 0; j < keys; ++j) sum += e[j] / total * v[at(j, d)];
      expect(what, y[at(i, d)], sum, slack * (1 + std::abs(sum)));
    }
  }
}

void check_attention(const sdp::Kernels& kernels, int keys, int groups) {
  const int all = (keys + 15) / 16, stride = kSize * 16;
  const std::vector<float> q = floats(groups * stride), k = floats(all * stride), v = floats(all * stride), bias = floats(keys);
  std::vector<float> y(groups * stride), scores(static_cast<size_t>(keys) * groups * 16);
  kernels.attention({q.data(), k.data(), v.data(), y.data(), static_cast<size_t>(stride), static_cast<size_t>(stride), kSize,
                     keys, 0.5f * 1.44269504f, bias.data(), nullptr, scores.data()}, groups);
  expect_attention("attention", q, k, v, bias, groups, y, 2e-6);
}

// Against the exact sums: what rounding to bytes costs is far below what a wrong zero point would.
void check_attention_i8(const sdp::Kernels& kernels, int keys, int groups) {
  const int all = (keys + 15) / 16, stride = kSize * 16;
  const std::vector<float> q = floats(groups * stride), k = floats(all * stride), v = floats(all * stride);
  std::vector<int32_t> seen(all * 16, 0), k_sum(all * 16), v_sum(kSize);
  std::fill(seen.begin(), seen.begin() + keys, -1);
  std::vector<float> bias(keys, 0), q_scale(groups * 16), k_scale(all * 16), v_scale(kSize), y(groups * stride);
  std::vector<uint8_t> q_bytes(groups * stride), shares(static_cast<size_t>(all) * groups * 256);
  std::vector<int8_t> k_bytes(all * stride), v_bytes(all * stride);
  std::vector<float> scores(static_cast<size_t>(keys) * groups * 16);
  for (int g = 0; g < groups; ++g) kernels.quantize(&q[g * stride], kSize, &q_bytes[g * stride], &q_scale[g * 16]);
  for (int g = 0; g < all; ++g)
    kernels.quantize_keys(&k[g * stride], kSize, &k_bytes[g * stride], &k_scale[g * 16], &k_sum[g * 16]);
  kernels.quantize_values(v.data(), stride, all, kSize, seen.data(), v_bytes.data(), v_scale.data(), v_sum.data());
  kernels.attention_i8({q_bytes.data(), q_scale.data(), k_bytes.data(), k_scale.data(), k_sum.data(), v_bytes.data(),
                        v_scale.data(), v_sum.data(), y.data(), static_cast<size_t>(stride), kSize, keys,
                        0.5f * 1.44269504f, bias.data(), nullptr, scores.data(), shares.data()},
                       groups);
  expect_attention("attention_i8", q, k, v, bias, groups, y, 0.2);
}

void check_dense_i8(const sdp::Kernels& kernels, int rows, int columns, int groups) {
  std::uniform_int_distribution<int> byte(-127, 127);
  std::vector<int8_t> w(rows * columns);
  for (int8_t& value : w) value = static_cast<int8_t>(byte(generator));
  const auto weight = [&](int row, int k) { return w[((row / 16 * (columns / 4) + k / 4) * 16 + row % 16) * 4 + k % 4]; };
  std::vector<int32_t> row_sum(rows, 0);
  for (int row = 0; row < rows; ++row)
    for (int k = 0; k < columns; ++k) row_sum[row] += weight(row, k);
  const std::vector<float> bias = floats(rows), row_scale = floats(rows);
  std::vector<float> x(groups * columns * 16), scale(groups * 16), y(groups * rows * 16);
  for (size_t i = 0; i < x.size(); ++i) x[i] = (i / 16 % columns == 0 ? 127 : byte(generator)) / 8.0f;
  std::vector<uint8_t> q(x.size());
  for (int g = 0; g < groups; ++g) kernels.quantize(&x[g * columns * 16], columns, &q[g * columns * 16], &scale[g * 16]);
  kernels.dense_i8({nullptr, bias.data(), row_scale.data(), row_sum.data(), sdp::Activation::none}, w.data(), 0, rows, columns,
                   q.data(), columns * 16, scale.data(), groups, y.data(), rows * 16);
  for (int i = 0; i < groups * rows * 16; ++i) {
    const int g = i / (rows * 16), row = i / 16 % rows, t = i % 16;
    double sum = 0;
    for (int k = 0; k < columns; ++k) sum += double(weight(row, k)) * x[(g * columns + k) * 16 + t];
    expect("dense_i8", y[i], sum * row_scale[row] + bias[row], 1e-5 * (1 + std::abs(sum * row_scale[row])));
  }
}

void check_dense(const sdp::Kernels& kernels, int rows, int columns, int groups) {
  const std::vector<float> w = floats(rows * columns), bias = floats(rows), x = floats(groups * columns * 16);
  std::vector<float> y(groups * rows * 16);
  kernels.dense_f32({nullptr, bias.data(), sdp::Activation::none}, w.data(), 0, rows, columns, x.data(), columns * 16, groups, y.data(), rows * 16);
  for (int i = 0; i < groups * rows * 16; ++i) {
    const int g = i / (rows * 16), row = i / 16 % rows, t = i % 16;
    double sum = bias[row];
    for (int k = 0; k < columns; ++k) sum += double(w[row / 16 * columns * 16 + k * 16 + row % 16]) * x[(g * columns + k) * 16 + t];
    expect("dense_f32", y[i], sum, 1e-5);
  }
}

void check_pack(const sdp::Kernels& kernels, int tokens, int width) {
  const std::vector<float> x = floats(static_cast<size_t>(tokens) * width);
  // Tokens beyond the last are written as zeros, and not read.
  std::vector<float> packed(static_cast<size_t>(width) * 16, 1.0f), unpacked(x.size());
  std::vector<const float*> rows;
  std::vector<float*> unpacked_rows;
  for (int t = 0; t < tokens; ++t) rows.push_back(x.data() + t * width), unpacked_rows.push_back(unpacked.data() + t * width);
  kernels.pack(rows.data(), tokens, width, packed.data());
  for (int k = 0; k < width; ++k)
    for (int t = 0; t < 16; ++t) expect("pack", packed[k * 16 + t], t < tokens ? x[t * width + k] : 0.0, 0);
  kernels.unpack(packed.data(), tokens, width, unpacked_rows.data());
  for (size_t i = 0; i < x.size(); ++i) expect("unpack", unpacked[i], x[i], 0);
}

// A text at any place of packed activations to groups of its own, and back between others.
void check_align(const sdp::Kernels& kernels, int lane, int tokens, int width) {
  const int groups = (tokens + 15) / 16, around = (lane + tokens + 15) / 16;
  const std::vector<float> x = floats(around * width * 16);
  std::vector<float> moved(static_cast<size_t>(groups) * width * 16), back(x.size(), 7.0f);
  kernels.align(x.data(), width * 16, lane, tokens, width, moved.data());
  for (int g = 0; g < groups; ++g)
    kernels.place(moved.data() + g * width * 16, lane, std::min(16, tokens - 16 * g), width, back.data() + g * width * 16,
                  width * 16);
  for (int i = 0; i < around * width * 16; ++i) {
    const int at = i / (width * 16) * 16 + i % 16, k = i / 16 % width, t = at - lane;
    const bool own = t >= 0 && t < tokens;
    if (own) expect("align", moved[(t / 16 * width + k) * 16 + t % 16], x[i], 0);
    expect("place", back[i], own ? x[i] : 7.0, 0);
  }
}

void check_add_row(const sdp::Kernels& kernels, int width) {
  const std::vector<float> row = floats(width), before = floats(width);
  std::vector<float> sum = before, sum_i8 = before;
  std::vector<int8_t> bytes(width);
  for (int k = 0; k < width; ++k) bytes[k] = static_cast<int8_t>(k * 37 % 255 - 127);
  kernels.add_row(row.data(), width, sum.data());
  kernels.add_row_i8(bytes.data(), 0.5f, width, sum_i8.data());
  for (int k = 0; k < width; ++k) {
    expect("add_row", sum[k], double(before[k]) + row[k], 1e-6);
    expect("add_row_i8", sum_i8[k], double(before[k]) + 0.5 * bytes[k], 1e-5);
  }
}

}  // namespace

int main() {
  const sdp::Kernels& kernels = sdp::kernels();
  for (double density : {0.0, 0.1, 0.5, 1.0})
    for (int groups : {1, 2, 3, 4, 5, 7})
      for (int rows : {4, 20, 196}) {
        check_sparse(kernels, rows, 37, 19, groups, density);
        check_int8(kernels, rows, 21, 9, groups, density);
      }
  for (int width : {1, 3, 4, 5, 388}) {
    check_norm(kernels, width);
    check_rms_norm(kernels, width);
    check_gate(kernels, width);
  }
  for (int keys : {1, 8, 16, 17, 49})
    for (int groups : {1, 2}) check_attention(kernels, keys, groups);
  for (int keys : {5, 16, 113, 130})
    for (int groups : {1, 2}) check_attention_i8(kernels, keys, groups);
  for (int groups : {1, 2, 3}) {
    check_dense(kernels, 48, 33, groups);
    check_dense_i8(kernels, 48, 36, groups);
  }
  for (int tokens : {1, 7, 16})
    for (int width : {1, 5, 33}) check_pack(kernels, tokens, width);
  for (int lane : {0, 1, 8, 15})
    for (int tokens : {1, 2, 15, 16, 17, 40}) check_align(kernels, lane, tokens, 8);
  for (int width : {1, 15, 16, 388}) check_add_row(kernels, width);
  std::puts(kernels.name);
}
