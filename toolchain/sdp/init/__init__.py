"""`sdp init`: from one file of labelled texts to split files and a recipe.

`look` shows a file's columns, `split` divides its rows, `choose` picks settings and says why, `recipe_text` writes them
down, `files` writes the rows; `project` does all of it in order. No torch.
"""
