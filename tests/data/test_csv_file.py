import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxnets.data import parse_csv, read_csv

single = st.floats(width=32, allow_nan=False, allow_infinity=False)


def written(rows, **options):
    text = io.StringIO()
    csv.writer(text, **options).writerows(rows)
    return text.getvalue()


@settings(deadline=None, max_examples=80, derandomize=True)
@given(
    st.integers(1, 4).flatmap(
        lambda n: st.lists(st.lists(single, min_size=n + 1, max_size=n + 1), min_size=1, max_size=6)
    ),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_round_trip_and_equal_to_genfromtxt(rows, delimiter, line_end, quoting):
    text = written(rows, delimiter=delimiter, lineterminator=line_end, quoting=quoting)
    table = parse_csv(text, header=False, regression=True, delimiter=delimiter)
    plain = np.genfromtxt(io.StringIO(text.replace('"', "")), delimiter=delimiter, ndmin=2).astype(np.float32)
    np.testing.assert_array_equal(np.column_stack([table.inputs, table.labels]), plain)
    np.testing.assert_array_equal(plain, np.array(rows, np.float32))
    assert table.names == tuple(map(str, range(len(rows[0]) - 1)))
    assert table.classes == ()


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.data())
def test_cut_anywhere_gives_fewer_rows_or_a_value_error(data):
    text = 'a,b,kind\r\n1,2.5,0\r\n"3",4e2,1\r\n-5,.5,0'
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    try:
        table = parse_csv(cut, "kind")
    except ValueError:
        return
    assert table.inputs.tolist() == [[1, 2.5], [3, 400], [-5, 0.5]][: len(table.inputs)]


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.one_of(st.text(max_size=30), st.text('0123456789,.-+e"\r\n\0ab', max_size=30)), st.booleans(), st.booleans())
def test_any_text_gives_finite_numbers_or_a_value_error(text, header, regression):
    try:
        table = parse_csv(text, header=header, regression=regression)
    except ValueError:
        return
    assert np.isfinite(table.inputs).all()
    assert len(table.inputs) == len(table.labels) > 0


def test_classes():
    integers = parse_csv("x,y\n1,10\n2,9\n3, 10\n", "y")
    assert (integers.classes, integers.labels.tolist(), integers.labels.dtype) == (("9", "10"), [1, 0, 1], np.int32)
    texts = parse_csv("y,x\nno,1\nyes,2\n no,3\n", 0)
    assert (texts.classes, texts.labels.tolist(), texts.names) == (("no", "yes"), [0, 1, 0], ("x",))


@pytest.mark.parametrize(
    "classes",
    [
        ("0", "00"),
        ("007", "7"),
        ("01234", "98765"),
        ("9007199254740992", "9007199254740993"),
        ("8", "9", "1" * 5000),
        ("-1", "+1", "1", "2.0", "10"),
        ("1e5", "2000", "2E3", "2e3"),
        ("01234", "1e5", "other"),
        ("Inf", "NaN", "b", "inf", "nan"),
        ("EU", "NA"),
        ("False", "True"),
    ],
)
def test_classes_keep_their_spelling(classes):
    table = parse_csv("x,y\n" + "".join(f"{i},{text}\n" for i, text in reversed([*enumerate(classes)])))
    assert table.classes == classes
    np.testing.assert_array_equal(table.labels, table.inputs[:, 0])


@pytest.mark.parametrize(
    ("text", "options", "names"),
    [
        ("2019,2020,y\n1,2,0\n4,5,1\n", {"target": "y"}, ("2019", "2020")),
        ("2019,2020,y\n1,2,0\n4,5,1\n", {}, ("2019", "2020")),
        ("2019,2020,y\n1,2,a\n4,5,b\n", {}, ("2019", "2020")),
        ("2019,2020,2021\n1,2,0.5\n4,5,0.5\n", {"regression": True}, ("2019", "2020")),
        ("y,2019\n0,1901\n1,1902\n", {"target": 0}, ("2019",)),
        ("2019,y\n1901,a\n1902,b\n", {"target": "y"}, ("2019",)),
        ("400.5,401,y\n1,2,0\n", {}, ("400.5", "401")),
        ("400.5,401,y\n1,2,a\n", {"columns": ["401"]}, ("401",)),
        ("color,1,kind\nred,2,a\n", {"categories": ["color"]}, ("color=red", "1")),
        ("color,kind\nred,a\n", {"categories": [0]}, ("color=red",)),
    ],
)
def test_columns_named_by_numbers(text, options, names):
    assert parse_csv(text, **options).names == names


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("2019,2020,2021\n1901,1902,1903\n", {"regression": True}),
        ("2019,2020,setosa\n1,2,setosa\n", {}),
        ("5,3,setosa\n4,3,virginica\n", {}),
        ("5.1,3.5,NA\n4.9,3.0,1\n", {"na_values": ["NA"]}),
        ("5.1,3.5,?\n4.9,3.0,1\n", {}),
        ("red,a\nred,b\n", {"categories": [0]}),
        ("red,5,a\nblue,6,b\n", {"categories": [0]}),
    ],
)
def test_a_first_line_of_data_is_not_taken_for_names(text, options):
    with pytest.raises(ValueError, match="write header=False, and if they are names, give the target by its name"):
        parse_csv(text, **options)


def test_decimal_comma():
    text = "a;b;kind\n1,5;-2;x\n,5;1e-1;y\n"
    table = parse_csv(text, delimiter=";", decimal=",")
    point = parse_csv(text.replace(",", "."), delimiter=";")
    np.testing.assert_array_equal(table.inputs, [[1.5, -2], [0.5, np.float32(0.1)]])
    np.testing.assert_array_equal(table.inputs, point.inputs)
    assert parse_csv("a;y\n1;2,5\n", delimiter=";", decimal=",", regression=True).labels.tolist() == [2.5]
    assert parse_csv("a;y\n1;10,0\n2;9,0\n", delimiter=";", decimal=",").classes == ("9,0", "10,0")


def test_missing_cells_are_nan_as_in_genfromtxt():
    text = "a,b,y\n1,,0\nNA,2,1\n -999 ,3,0\n"
    table = parse_csv(text, na_values=("", "NA", "-999"))
    wanted = np.genfromtxt(io.StringIO(text), delimiter=",", skip_header=1, missing_values="NA")[:, :2]
    np.testing.assert_array_equal(table.inputs, np.where(wanted == -999, np.nan, wanted))
    assert table.inputs.dtype == np.float32
    assert table.classes == ("0", "1")


def test_categories_are_one_hot_in_order():
    text = "size,color,age,y\n10,red,1.5,0\n9, blue,2.5,1\n10,,3.5,0\n"
    table = parse_csv(text, "y", categories=["color", 0], na_values=[""])
    assert table.names == ("size=9", "size=10", "color=blue", "color=red", "age")
    np.testing.assert_array_equal(table.inputs, [[0, 1, 0, 1, 1.5], [1, 0, 1, 0, 2.5], [0, 1, 0, 0, 3.5]])
    chosen = parse_csv(text, "y", columns=["age", "size"], categories=["size"])
    assert (chosen.names, chosen.inputs[1].tolist()) == (("age", "size=9", "size=10"), [2.5, 1, 0])
    assert parse_csv("red,0\nblue,1\n", header=False, categories=[0]).names == ("0=blue", "0=red")


@pytest.mark.parametrize("option", ["columns", "categories", "na_values"])
def test_one_text_for_many_is_a_type_error(option):
    with pytest.raises(TypeError, match=rf"{option} must be a sequence; write {option}=\['x'\]"):
        parse_csv("x,y\n1,0\n", **{option: "x"})


def test_a_number_for_the_text_of_missing_cells_is_a_type_error():
    with pytest.raises(TypeError, match="write '-999' for -999"):
        parse_csv("x,y\n1,0\n", na_values=[-999])


def test_columns_by_name_and_number_keep_the_given_order():
    table = parse_csv("day,a,b,y\nmonday,1,2,3.5\n", "y", columns=["b", 1], regression=True)
    assert (table.inputs.tolist(), table.names, table.labels.tolist()) == ([[2, 1]], ("b", "a"), [3.5])


def test_no_input_columns():
    assert parse_csv("month,n\nmay,1.5\n", "n", columns=[], regression=True).inputs.shape == (1, 0)


def test_byte_order_mark_windows_lines_and_empty_end(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfx,y\r\n1,0\r\n2,1\r\n\r\n")
    table = read_csv(tmp_path / "a.csv", "y")
    assert (table.names, table.inputs.tolist(), table.labels.tolist()) == (("x",), [[1], [2]], [0, 1])
    text = (tmp_path / "a.csv").read_text(encoding="utf-8")  # which keeps the mark
    assert parse_csv(text, "y").names == parse_csv(text.replace("x", '"x"'), "y").names == ("x",)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "T is empty"),
        ("\n\n", {}, "T is empty"),
        ("x,y\n", {}, "a header but no rows"),
        ("x,y\n1,2\n3\n", {}, "line 3: 1 cells where the first line has 2"),
        ("x,y\n1,2\n\n3,4\n", {}, "line 3: 0 cells"),
        ("x,y\n1,2,3\n", {}, "line 2: 3 cells"),
        ("x,y\n1,0\nred,1\n", {}, "line 3, column 'x': expected a finite number, got 'red'"),
        ("x,y\n,1\n", {}, "got ''"),
        ("x,y\nnan,1\n", {}, "got 'nan'"),
        ("x,y\n-inf,1\n", {}, "got '-inf'"),
        ("x,y\n1e39,1\n", {}, "got '1e39'"),
        ("x,y\n1_0,1\n", {}, "got '1_0'"),
        ("x,y\n٣,1\n", {}, "got '٣'"),
        ("x,y\n1,2\n", {"header": False}, "got 'x'; if the first line names the columns, write header=True"),
        ("1,2\n3,4\n", {}, "write header=False"),
        ("5.1,3.5,setosa\n4.9,3.0,setosa\n", {}, "write header=False"),
        ("a;b;c\n1;2;0\n", {}, "only one column, 'a;b;c'; is the delimiter another one, such as delimiter=';'"),
        ("\nx,y\n1,2\n", {}, "line 1 is empty"),
        ("x,x\n1,2\n", {}, "names must be different, got 'x', 'x'"),
        ("x,y\n1,0.5\n", {}, "'0.5' is not a class; .* regression=True"),
        ("x,y\n1,a\n2,1e-3\n", {}, "line 3, column 'y': '1e-3' is not a class; .* regression=True"),
        ("x;y\n1;0,5\n", {"delimiter": ";", "decimal": ","}, "'0,5' is not a class; .* regression=True"),
        ("x,y\n1,0\n2,NA\n", {"na_values": ["NA"]}, "line 3, column 'y': 'NA' is missing .* leave out the row"),
        ("x,y\n1,NA\n", {"na_values": ["NA"], "regression": True}, "got 'NA', which is missing .* leave out the row"),
        ("x,y\nNA,1\n", {"na_values": ["na"]}, "line 2, column 'x': expected a finite number, got 'NA'"),
        ("x;y\n1,5;0\n", {"delimiter": ";"}, "got '1,5'; for a decimal comma write decimal=','"),
        ("x;y\n1.5;0\n", {"delimiter": ";", "decimal": ","}, "expected a finite number, got '1.5'"),
        ("x,y\n1,0\n", {"decimal": ","}, "cannot be both delimiter and decimal; write delimiter=';'"),
        ("x,y\n1,0\n", {"decimal": "·"}, "decimal must be '.' or ',', got '·'"),
        ("c,x,y\n,1,0\n", {"categories": ["c"]}, r"line 2, column 'c': expected a category, .*na_values=\(\"\",\)"),
        ("c,x,y\na,1,0\n", {"categories": ["d"]}, "no column is named 'd'"),
        ("c,x,y\na,1,0\n", {"categories": ["y"]}, "the categories 'y' must be among the inputs"),
        ("c,x,y\na,1,0\n", {"categories": ["c"], "columns": ["x"]}, "the categories 'c' must be among the inputs"),
        ("x,y\n1,\n", {}, "'' is not a class"),
        ("x,y\n1,red\n", {"regression": True}, "column 'y': expected a finite number"),
        ("x,y\n1,2\n", {"target": "z"}, "no column is named 'z'; the names are 'x', 'y'"),
        ("1,2\n", {"target": "x", "header": False}, "none, for header=False"),
        ("x,y\n1,2\n", {"target": 2}, "no column 2, the file has 2"),
        ("x,y\n1,2\n", {"target": -3}, "no column -3"),
        ("x,y\n1,2\n", {"columns": ["x", "y"]}, "'y' must not be among the inputs"),
        ('x,y\n"1,2\n', {}, "line 2: unexpected end of data"),
        ("x,y\n" + "1" * 200_000 + ",2\n", {}, "line 2: field larger than field limit"),
    ],
)
def test_errors(text, options, message):
    with pytest.raises(ValueError, match=message):
        parse_csv(text, **options, name="T")


def test_the_header_that_pandas_gives_columns_without_names():
    table = parse_csv("0,1,2\n5.5,6.5,1\n7.5,8.5,0\n")
    np.testing.assert_array_equal(table.inputs, [[5.5, 6.5], [7.5, 8.5]])
    assert table.names == ("0", "1")


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"x,y\n\xff,1\n")
    with pytest.raises(ValueError, match=r"a\.csv, line 2: the text is not UTF-8"):
        read_csv(tmp_path / "a.csv")
    with pytest.raises(FileNotFoundError):
        read_csv(tmp_path / "none.csv")


def test_numbers_that_float32_rounds_to_its_largest_are_finite():
    """Its shortest text lies beyond it, and half a step further it is infinite."""
    largest = np.finfo(np.float32).max
    table = parse_csv(f"{largest},0\n-{largest},1\n", header=False, regression=True)
    np.testing.assert_array_equal(table.inputs[:, 0], [largest, -largest])
    with pytest.raises(ValueError, match=r"expected a finite number, got '3\.4028236e38'"):
        parse_csv("3.4028236e38,0\n1,1\n", header=False, regression=True)
