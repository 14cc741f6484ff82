"""The other methods of the paper's tables, which notebooks 11 to 13 derive and export."""
