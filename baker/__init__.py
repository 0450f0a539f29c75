"""The offline baker: import, bind, coarse render, restore, optimise, distil, pack. The only package with torch."""
