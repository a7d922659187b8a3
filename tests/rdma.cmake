# SPDX-License-Identifier: Apache-2.0
# What needs RDMA devices runs in a virtual machine that has them (tests/rdma/vm): SKIPPED, with the
# reason, where there is no QEMU or no package of a kernel.
function(praas_vm_test name)
  add_test(NAME ${name} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/rdma/${ARGN})
  set_tests_properties(${name} PROPERTIES LABELS "slow;full" SKIP_RETURN_CODE 77 TIMEOUT 600
    RESOURCE_LOCK praas_vm)
endfunction()
praas_vm_test(rdma.vm self_test)
set_property(TEST rdma.vm APPEND PROPERTY LABELS notsan) # nothing of ours runs in it

# The suite of every transport, over both kinds of devices; between two hosts, packets are lost and overtaken too.
if(VERBS_FOUND)
  praas_vm_test(conformance.transport.verbs-rxe vm --timeout 480 -- $<TARGET_FILE:conformance_transport> verbs)
  praas_vm_test(conformance.transport.verbs-siw vm --timeout 480 --link siw -- $<TARGET_FILE:conformance_transport> verbs)
  praas_vm_test(conformance.transport.sealed.verbs vm --timeout 480 -- $<TARGET_FILE:conformance_transport> sealed.verbs)
  set_property(TEST conformance.transport.sealed.verbs APPEND PROPERTY LABELS notsan) # over tcp and ofi it runs there
  # Emulated, large payloads over such a link would take minutes.
  praas_vm_test(conformance.transport.verbs-lossy vm --timeout 480 --pair --netem "loss 0.2% delay 100us reorder 0.5%"
    -- $<TARGET_FILE:conformance_transport> verbs-pair -*huge)

  add_executable(conformance_verbs conformance/transport/verbs.c conformance/transport/verbs_cost.c
    conformance/transport/rig.c conformance/transport/schemes.c)
  praas_target(conformance_verbs)
  target_link_libraries(conformance_verbs PRIVATE praas_wire PkgConfig::CMOCKA PkgConfig::VERBS)
  set_target_properties(conformance_verbs PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  # What only verbs can be asked, the link that goes and comes back, libfabric over verbs: one start of the machine.
  foreach(device rxe siw)
    praas_vm_test(conformance.verbs-${device} vm --timeout 480 --link ${device} --pair
      -- ${CMAKE_CURRENT_SOURCE_DIR}/rdma/suite ${PROJECT_BINARY_DIR} ${device})
  endforeach()

  # The whole system, from the command line.
  foreach(device rxe siw)
    praas_vm_test(e2e.verbs-${device} vm --timeout 540 --link ${device}
      -- ${CMAKE_CURRENT_SOURCE_DIR}/rdma/e2e ${PROJECT_BINARY_DIR} 10.99.0.1)
    set_property(TEST e2e.verbs-${device} APPEND PROPERTY LABELS notsan) # minutes, emulated; the suites above run there
  endforeach()
endif()
