"""`sdp init`: from one file of labelled texts to split files and a recipe.

`rows` checks a file's columns and reads its rows, `split` divides them, `settings` chooses every setting with its
reason, `recipe_text` writes the recipe, `files` the rows; `project` does all of it in order. No torch.
"""
