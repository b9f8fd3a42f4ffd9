// What tch 0.26 binds no function for.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <cstring>
#include <exception>
#include <vector>

namespace {
// Runs what may throw. Returns null, or a message to free.
template <typename Run>
char *guarded(Run run) {
  try {
    at::NoGradGuard guard;
    run();
    return nullptr;
  } catch (const std::exception &error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("an exception of unknown type");
  }
}

const at::Tensor &of(const void *tensor) { return *static_cast<const at::Tensor *>(tensor); }

// oneDNN's convolution of a packed kernel, where libtorch has it.
const std::optional<c10::OperatorHandle> &packed_convolution() {
  static const auto found = at::globalContext().hasMKLDNN()
                                ? c10::Dispatcher::singleton().findSchema({"mkldnn::_convolution_pointwise", ""})
                                : std::nullopt;
  return found;
}
} // namespace

extern "C" {
// Runs tasks 0 to tasks - 1 on libtorch's threads and waits for them.
char *keras_parallel(int64_t tasks, void (*run)(void *, int64_t), void *context) {
  return guarded([=] {
    at::parallel_for(0, tasks, 1, [=](int64_t first, int64_t last) {
      for (int64_t task = first; task < last; ++task) run(context, task);
    });
  });
}

// The gradient of a convolution for its input (which = 0) or its kernel (which = 1).
char *keras_convolution_backward(void **result, const void *grad, const void *input, const void *kernel,
                                 const int64_t *strides, const int64_t *pads, const int64_t *dilations, int axes,
                                 int64_t groups, int which) {
  return guarded([=] {
    auto ints = [axes](const int64_t *values) { return at::IntArrayRef(values, axes); };
    std::vector<int64_t> none(axes, 0);
    auto gradients =
        at::convolution_backward(of(grad), of(input), of(kernel), std::nullopt, ints(strides), ints(pads), ints(dilations),
                                 false, none, groups, {which == 0, which == 1, false});
    *result = new at::Tensor(which == 0 ? std::get<0>(gradients) : std::get<1>(gradients));
  });
}

// A kernel of images [filters, channels, rows, columns] in oneDNN's layout for inputs of that shape; null where there is none.
char *keras_pack_kernel(void **result, const void *kernel, const int64_t *input, const int64_t *strides,
                        const int64_t *pads, const int64_t *dilations) {
  return guarded([=] {
    auto two = [](const int64_t *values) { return at::IntArrayRef(values, 2); };
    *result = nullptr;
    if (!packed_convolution()) return;
    *result = new at::Tensor(at::mkldnn_reorder_conv2d_weight(of(kernel).contiguous().to_mkldnn(), two(pads), two(strides),
                                                              two(dilations), 1, at::IntArrayRef(input, 4)));
  });
}

// The convolution of images with a kernel from keras_pack_kernel, with a bias or null. (oneDNN's own relu makes 0 of NaN.)
char *keras_packed_convolution(void **result, const void *x, const void *kernel, const void *bias, const int64_t *strides,
                               const int64_t *pads, const int64_t *dilations) {
  return guarded([=] {
    auto two = [](const int64_t *values) { return c10::IValue(std::vector<int64_t>(values, values + 2)); };
    auto none = c10::IValue();
    std::vector<c10::IValue> stack{of(x),          of(kernel), bias ? c10::IValue(of(bias)) : none, two(pads), two(strides),
                                   two(dilations), int64_t{1}, std::string("none"),
                                   c10::List<std::optional<at::Scalar>>(), none};
    packed_convolution()->callBoxed(stack);
    *result = new at::Tensor(stack.at(0).toTensor());
  });
}
}
