// The operators of domain `sdp`, declared from operators.def. Each is defined in a file of its own or of its family in
// operators/; library.cpp registers all of them with onnxruntime.
#pragma once

#include <memory>

#include "cpu.h"
#include "kernels.h"
#include "tensors.h"

namespace sdp {

// An operator as one node of a model has it: its attributes and weights are read and checked when it is made.
class Operator {
 public:
  virtual ~Operator() = default;
  // Throws Refused for inputs that do not fit. May be called by several threads at once.
  virtual void compute(OrtKernelContext*) const = 0;
};

// make_<name>: throws Refused for attributes or weights that do not fit.
#define OPERATOR(name, ...) std::unique_ptr<Operator> make_##name(const OrtKernelInfo*);
#include "operators.def"

// <name>Inputs::<input>: the position of an input.
#define OPERATOR(name, ...) \
  struct name##Inputs {     \
    enum Position : size_t { __VA_ARGS__ }; \
  };
#define REQUIRED(input, type) input
#define WEIGHT(input, type) input
#define OPTIONAL(input, type) input
#include "operators.def"

}  // namespace sdp
