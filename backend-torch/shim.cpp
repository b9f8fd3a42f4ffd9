// What tch 0.26 binds no function for.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <cstring>
#include <exception>
#include <vector>

extern "C" {
// Runs tasks 0 to tasks - 1 on libtorch's threads and waits for them.
void keras_parallel(int64_t tasks, void (*run)(void *, int64_t), void *context) {
  at::parallel_for(0, tasks, 1, [=](int64_t first, int64_t last) {
    for (int64_t task = first; task < last; ++task) run(context, task);
  });
}

// The gradient of a convolution for its input (which = 0) or its kernel (which = 1). Returns null, or a message to free.
char *keras_convolution_backward(void **result, const void *grad, const void *input, const void *kernel,
                                 const int64_t *strides, const int64_t *pads, const int64_t *dilations, int axes,
                                 int64_t groups, int which) {
  try {
    at::NoGradGuard guard;
    auto of = [](const void *tensor) -> const at::Tensor & { return *static_cast<const at::Tensor *>(tensor); };
    auto ints = [axes](const int64_t *values) { return at::IntArrayRef(values, axes); };
    std::vector<int64_t> none(axes, 0);
    auto gradients =
        at::convolution_backward(of(grad), of(input), of(kernel), std::nullopt, ints(strides), ints(pads), ints(dilations),
                                 false, none, groups, {which == 0, which == 1, false});
    *result = new at::Tensor(which == 0 ? std::get<0>(gradients) : std::get<1>(gradients));
    return nullptr;
  } catch (const std::exception &error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("an exception of unknown type");
  }
}
}
