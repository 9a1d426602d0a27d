// SPDX-License-Identifier: MIT
// A stand-in for NVIDIA's driver (libcuda.so.1) on machines that have none. cuDNN compiles the kernels of
// fused operations when a plan is made, and hands them to the driver at once; this one takes what it is given
// and says that there is no card. With it tests see which fused plans the real cuDNN makes for a card that is
// only described. Nothing can be run.
//
// The library is loaded by its path, before anything of CUDA's looks for the driver by its name.

namespace {

constexpr int success = 0, no_device = 100;
char anything;  // what handles point to

/// Writes a handle that is not null.
int give(void** handle) {
  *handle = &anything;
  return success;
}

}  // namespace

#define SEGNET_FUNCTION(name, result) \
  extern "C" int name(...) { return result; }

// Modules and kernels: all is well.
extern "C" int cuLibraryLoadData(void** library, ...) { return give(library); }
extern "C" int cuLibraryGetKernel(void** kernel, ...) { return give(kernel); }
extern "C" int cuLibraryGetModule(void** module, ...) { return give(module); }
extern "C" int cuModuleLoadData(void** module, ...) { return give(module); }
extern "C" int cuModuleLoadDataEx(void** module, ...) { return give(module); }
extern "C" int cuModuleGetFunction(void** function, ...) { return give(function); }
extern "C" int cuKernelGetFunction(void** function, ...) { return give(function); }
extern "C" int cuDriverGetVersion(int* version) {
  *version = 13000;
  return success;
}
SEGNET_FUNCTION(cuLibraryUnload, success)
SEGNET_FUNCTION(cuModuleUnload, success)
SEGNET_FUNCTION(cuFuncSetAttribute, success)
SEGNET_FUNCTION(cuKernelSetAttribute, success)

// Everything else that cuDNN looks for needs a card.
SEGNET_FUNCTION(cuInit, no_device)
SEGNET_FUNCTION(cuCtxGetCurrent, no_device)
SEGNET_FUNCTION(cuCtxGetDevice, no_device)
SEGNET_FUNCTION(cuCtxGetLimit, no_device)
SEGNET_FUNCTION(cuCtxPopCurrent, no_device)
SEGNET_FUNCTION(cuCtxPushCurrent, no_device)
SEGNET_FUNCTION(cuDeviceGet, no_device)
SEGNET_FUNCTION(cuDeviceGetAttribute, no_device)
SEGNET_FUNCTION(cuDeviceGetCount, no_device)
SEGNET_FUNCTION(cuDevicePrimaryCtxRelease, no_device)
SEGNET_FUNCTION(cuDevicePrimaryCtxReset, no_device)
SEGNET_FUNCTION(cuDevicePrimaryCtxRetain, no_device)
SEGNET_FUNCTION(cuFuncGetAttribute, no_device)
SEGNET_FUNCTION(cuGetErrorName, no_device)
SEGNET_FUNCTION(cuGetErrorString, no_device)
SEGNET_FUNCTION(cuKernelGetAttribute, no_device)
SEGNET_FUNCTION(cuLaunchCooperativeKernel, no_device)
SEGNET_FUNCTION(cuLaunchKernel, no_device)
SEGNET_FUNCTION(cuLaunchKernelEx, no_device)
SEGNET_FUNCTION(cuLibraryLoadFromFile, no_device)
SEGNET_FUNCTION(cuLinkAddData, no_device)
SEGNET_FUNCTION(cuLinkAddData_v2, no_device)
SEGNET_FUNCTION(cuLinkAddFile_v2, no_device)
SEGNET_FUNCTION(cuLinkComplete, no_device)
SEGNET_FUNCTION(cuLinkCreate, no_device)
SEGNET_FUNCTION(cuLinkCreate_v2, no_device)
SEGNET_FUNCTION(cuLinkDestroy, no_device)
SEGNET_FUNCTION(cuMemcpyDtoH_v2, no_device)
SEGNET_FUNCTION(cuModuleGetGlobal_v2, no_device)
SEGNET_FUNCTION(cuModuleLoadFatBinary, no_device)
SEGNET_FUNCTION(cuOccupancyMaxActiveBlocksPerMultiprocessor, no_device)
SEGNET_FUNCTION(cuOccupancyMaxPotentialClusterSize, no_device)
SEGNET_FUNCTION(cuStreamGetCtx, no_device)
SEGNET_FUNCTION(cuStreamSynchronize, no_device)
SEGNET_FUNCTION(cuTensorMapEncodeTiled, no_device)
