# SPDX-License-Identifier: Apache-2.0
# What needs RDMA devices runs in a virtual machine that has them (tests/rdma/vm): SKIPPED, with the
# reason, where there is no QEMU or no package of a kernel.
function(praas_vm_test name)
  add_test(NAME ${name} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/rdma/${ARGN})
  set_tests_properties(${name} PROPERTIES LABELS full SKIP_RETURN_CODE 77 TIMEOUT 600
    RESOURCE_LOCK praas_vm)
endfunction()
praas_vm_test(rdma.vm self_test)
