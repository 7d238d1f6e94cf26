// A stand-in for CUDA's runtime with one GPU, whose memory is the host's. It runs no kernel: a launch ends the process.
// Loaded before torch (LD_PRELOAD) it answers in place of libcudart; emulated_cuda.py computes what kernels would.
//
// Its name for the linker is libcuda.so.1, so that torch takes it for the driver as well.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include <cuda_runtime_api.h>

namespace {

class Memory {
    std::map<char *, size_t> blocks;
    std::mutex lock;

  public:
    size_t used = 0;

    cudaError_t take(void **pointer, size_t size) {
        if (posix_memalign(pointer, 512, size ? size : 512)) return cudaErrorMemoryAllocation;
        std::lock_guard<std::mutex> guard(lock);
        blocks[static_cast<char *>(*pointer)] = size;
        used += size;
        return cudaSuccess;
    }

    cudaError_t give_back(void *pointer) {
        std::lock_guard<std::mutex> guard(lock);
        auto block = blocks.find(static_cast<char *>(pointer));
        if (block != blocks.end()) {
            used -= block->second;
            blocks.erase(block);
        }
        free(pointer);
        return cudaSuccess;
    }

    bool holds(const void *pointer) {
        std::lock_guard<std::mutex> guard(lock);
        auto after = blocks.upper_bound(static_cast<char *>(const_cast<void *>(pointer)));
        if (after == blocks.begin()) return false;
        --after;
        return pointer < after->first + after->second;
    }
};

constexpr size_t GIBIBYTES = size_t(80) << 30;
Memory of_device, pinned;
long waits = 0;

template <typename Handle> cudaError_t some_handle(Handle *handle) {
    static long made = 0;
    *handle = reinterpret_cast<Handle>(0x1000 + 16 * ++made);
    return cudaSuccess;
}

cudaError_t wait() {
    ++waits;
    return cudaSuccess;
}

cudaError_t refuse_kernel() {
    fputs("emulated CUDA: a kernel was launched; emulated_cuda.py does not cover the operation\n", stderr);
    abort();
}

int no_answer(...) { return 0; }

} // namespace

extern "C" {

// How often the host waited for the device in calls that torch made itself.
long emulated_cuda_waits() { return waits; }

// The device
cudaError_t cudaGetDeviceCount(int *count) { return *count = 1, cudaSuccess; }
cudaError_t cudaGetDevice(int *device) { return *device = 0, cudaSuccess; }
cudaError_t cudaSetDevice(int) { return cudaSuccess; }
cudaError_t cudaDriverGetVersion(int *version) { return *version = CUDART_VERSION, cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int *version) { return *version = CUDART_VERSION, cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *found, int) {
    *found = {};
    strcpy(found->name, "emulated");
    found->major = 9;
    found->multiProcessorCount = 100;
    found->totalGlobalMem = GIBIBYTES;
    found->maxThreadsPerMultiProcessor = 2048;
    found->maxThreadsPerBlock = 1024;
    found->warpSize = 32;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int) {
    return *value = attribute == cudaDevAttrComputeCapabilityMajor ? 9 : 0, cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t *free, size_t *total) {
    *total = GIBIBYTES;
    *free = GIBIBYTES - of_device.used;
    return cudaSuccess;
}
cudaError_t cudaDeviceCanAccessPeer(int *possible, int, int) { return *possible = 0, cudaSuccess; }
cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaPeekAtLastError() { return cudaSuccess; }
cudaError_t cudaGetDriverEntryPointByVersion(
    const char *, void **function, unsigned, unsigned long long, cudaDriverEntryPointQueryResult *result) {
    *function = reinterpret_cast<void *>(no_answer);
    if (result) *result = cudaDriverEntryPointSuccess;
    return cudaSuccess;
}

// The driver: a context is there.
int cuDevicePrimaryCtxGetState(int, unsigned *flags, int *active) {
    *flags = 0;
    *active = 1;
    return 0;
}

// Memory
cudaError_t cudaMalloc(void **pointer, size_t size) { return of_device.take(pointer, size); }
cudaError_t cudaFree(void *pointer) { return of_device.give_back(pointer); }
cudaError_t cudaHostAlloc(void **pointer, size_t size, unsigned) { return pinned.take(pointer, size); }
cudaError_t cudaFreeHost(void *pointer) { return pinned.give_back(pointer); }
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *found, const void *pointer) {
    *found = {};
    found->type = of_device.holds(pointer) ? cudaMemoryTypeDevice
                  : pinned.holds(pointer)  ? cudaMemoryTypeHost
                                           : cudaMemoryTypeUnregistered;
    return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, cudaMemcpyKind, cudaStream_t) {
    return memcpy(to, from, size), cudaSuccess;
}
cudaError_t cudaMemsetAsync(void *to, int value, size_t size, cudaStream_t) {
    return memset(to, value, size), cudaSuccess;
}

// Streams and events: all is done at once, so that only waits need a count.
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned, int) { return some_handle(stream); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned) { return some_handle(stream); }
cudaError_t cudaStreamGetPriority(cudaStream_t, int *priority) { return *priority = 0, cudaSuccess; }
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus *status) {
    return *status = cudaStreamCaptureStatusNone, cudaSuccess;
}
cudaError_t cudaStreamGetCaptureInfo(
    cudaStream_t, cudaStreamCaptureStatus *status, unsigned long long *, cudaGraph_t *, const cudaGraphNode_t **,
    const cudaGraphEdgeData **, size_t *) {
    return *status = cudaStreamCaptureStatusNone, cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode *) { return cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) { return some_handle(event); }
cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventQuery(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventRecordWithFlags(cudaEvent_t, cudaStream_t, unsigned) { return cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return wait(); }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return wait(); }
cudaError_t cudaDeviceSynchronize() { return wait(); }

// Kernels
cudaError_t cudaLaunchKernel(const void *, dim3, dim3, void **, size_t, cudaStream_t) { return refuse_kernel(); }
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *, const void *, void **) { return refuse_kernel(); }

} // extern "C"
