# SPDX-License-Identifier: Apache-2.0
# The shm transport and the client library.
praas_unit_test(shm_transport praas_transport)
praas_unit_test(client praas_client_static)
praas_unit_test(client_buffer praas_client_static)
praas_unit_test(follow praas_client_static)
praas_unit_test(shm_direct praas_client_static)
praas_unit_test(shm_direct_hostile praas_client_static)
set_tests_properties(unit.shm_direct unit.shm_direct_hostile PROPERTIES LABELS tsan)
praas_unit_test(shm_hostile praas_transport)
praas_unit_test(client_steady praas_client_static)
target_link_options(test_client_steady PRIVATE
  LINKER:--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc)
