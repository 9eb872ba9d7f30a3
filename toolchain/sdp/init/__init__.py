"""`sdp init`: make split files and a recipe from one file of labelled texts.

`rows` checks a file's columns and reads its rows, `split` divides them, `settings` chooses every setting with its
reason, `recipe_text` formats the recipe, `files` writes the rows; `project` runs all of them in order. No torch.
"""
