// Pieces of work that depend on each other, on the session's threads, without a return to onnxruntime in between.
#pragma once

#include <algorithm>
#include <atomic>
#include <thread>

#include "tensors.h"

namespace sdp {

// Opens when as many pieces as it counts are done.
class Gate {
 public:
  explicit Gate(int64_t pieces = 0) : left_(pieces) {}
  Gate(const Gate& other) : left_(other.left_.load(std::memory_order_relaxed)) {}
  void done() { left_.fetch_sub(1, std::memory_order_acq_rel); }
  void wait() const {
    for (int spins = 0; left_.load(std::memory_order_acquire) > 0; ++spins)
      if (spins > kSpins) std::this_thread::yield();  // the thread that is waited for may need this core
  }

 private:
  static constexpr int kSpins = 2000;
  std::atomic<int64_t> left_;
};

// Calls body(i) for i < total on the session's threads, several at once, begun in the order of their numbers: a piece may
// wait for others with lower numbers, since each of these is done or in the hands of a running thread. `body` must not
// throw.
template <class Body>
void in_order(const OrtKernelContext* context, size_t total, Body&& body) {
  static const size_t most_threads = std::max(1u, std::thread::hardware_concurrency());
  std::atomic<size_t> next{0};
  parallel(context, std::min(total, most_threads), [&](size_t) {
    for (size_t i = next.fetch_add(1, std::memory_order_relaxed); i < total;
         i = next.fetch_add(1, std::memory_order_relaxed))
      body(i);
  });
}

}  // namespace sdp
