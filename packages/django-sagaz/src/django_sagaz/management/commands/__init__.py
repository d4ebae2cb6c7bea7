"""sagaz_worker, sagaz_list and sagaz_check."""
